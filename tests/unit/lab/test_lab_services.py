"""From a pod's condition to a node's rules: EndpointSlices, propagation, the proxies' periods, the messages."""

from __future__ import annotations

from itertools import pairwise

import anyio
import pytest

from hazd.cluster.lab.linux.service_rules import chain_of, transaction
from hazd.cluster.lab.node import rules
from hazd.cluster.lab.service_port import ServicePort
from hazd.cluster.watch import SERVICE_NAME
from hazd.model import Manifest, Ref

from .bench import Bench, container, deployment, pod, pod_template, readiness, run, service

SLOW = {"LISTEN_S": 3, "TERM_S": 4}


def _endpoints(bench: Bench) -> dict[str, Manifest]:
    slices = bench.store.list("EndpointSlice", "t", {SERVICE_NAME: "app"})
    return {each["targetRef"]["name"]: each["conditions"] for one in slices for each in one["endpoints"]}


def test_the_life_of_an_endpoint() -> None:
    """Listed unready with its address, ready with its probe, terminating while it ends, then gone."""

    async def main(bench: Bench) -> None:
        bench.store.create(service())
        bench.store.create(pod("one", container(readinessProbe=readiness(), env=SLOW)))
        await anyio.sleep(2.5)
        assert _endpoints(bench)["one"] == {"ready": False, "serving": False, "terminating": False}
        await anyio.sleep(4)
        assert _endpoints(bench)["one"] == {"ready": True, "serving": True, "terminating": False}
        bench.store.delete(Ref("Pod", "one", "t"))
        await anyio.sleep(1)
        assert _endpoints(bench)["one"] == {"ready": False, "serving": True, "terminating": True}
        await anyio.sleep(5)
        assert _endpoints(bench) == {}

    run(main)


@pytest.mark.parametrize("apart_s", [0.0, 0.02, 0.05, 0.1, 0.12])
def test_no_change_is_lost_while_a_slice_is_written(apart_s: float) -> None:
    """Pods that become ready before, during and just at the end of a write are all listed in the end."""

    async def main(bench: Bench) -> None:
        bench.store.create(service())
        await anyio.sleep(5)
        for name in ("one", "two", "three"):
            bench.store.create(pod(name))
            await anyio.sleep(apart_s)
        await anyio.sleep(2)
        assert {name: each["ready"] for name, each in _endpoints(bench).items()} == dict.fromkeys(
            ("one", "two", "three"), True
        )

    run(main, relist_period_s=0.0)


def test_publish_not_ready_addresses() -> None:
    """Such a Service lists a pod as ready whatever its probe says."""

    async def main(bench: Bench) -> None:
        bench.store.create(service(publishNotReadyAddresses=True))
        bench.store.create(pod("one", container(readinessProbe=readiness(), env={"LISTEN_S": 99})))
        await anyio.sleep(3)
        assert _endpoints(bench)["one"] == {"ready": True, "serving": False, "terminating": False}

    run(main)


def test_a_slice_holds_at_most_a_hundred() -> None:
    """250 pods are three slices, and a change of one pod writes one slice."""

    async def main(bench: Bench) -> None:
        bench.store.create(service())
        bench.store.create(deployment(250))
        await anyio.sleep(10)
        slices = bench.store.list("EndpointSlice", "t")
        assert sorted(len(each["endpoints"]) for each in slices) == [50, 100, 100]
        before = {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in slices}
        bench.store.delete(Ref("Pod", bench.pods()[0]["metadata"]["name"], "t"))
        await anyio.sleep(0.15)
        after = bench.store.list("EndpointSlice", "t")
        assert sum(before[each["metadata"]["name"]] != each["metadata"]["resourceVersion"] for each in after) == 1

    run(main)


def test_a_named_target_port_is_the_pods_own() -> None:
    """targetPort by name is looked up in each pod's containers."""

    async def main(bench: Bench) -> None:
        bench.store.create(service(ports=[{"port": 80, "targetPort": "web"}]))
        bench.store.create(pod("one", container(ports=[{"name": "web", "containerPort": 9090}])))
        await anyio.sleep(3)
        [found] = bench.store.list("EndpointSlice", "t")
        assert [port["port"] for port in found["ports"]] == [9090]

    run(main)


def test_propagation_delay_is_what_every_node_waits() -> None:
    """No node's rules know of an endpoint earlier than the slice plus the delay; all know it one period later."""

    async def main(bench: Bench) -> None:
        bench.store.create(service())
        await anyio.sleep(10)
        bench.store.create(pod())
        await anyio.sleep(12)
        written = next(at for at, c in bench.changes if c.obj["kind"] == "EndpointSlice" and any(c.obj["endpoints"]))
        address = bench.store.get(Ref("Pod", "one", "t"))["status"]["podIP"]
        for changes in bench.machine.rules_of.values():
            known = next(at for at, ports in changes if (address, 8080) in ports[0].endpoints)
            assert written + 6 <= known <= written + 6 + 1.0 + 1e-6

    run(main, propagation_delay_s=6.0)


def test_a_node_syncs_at_most_once_a_period() -> None:
    """However many changes there are, two syncs of a node are a period apart; an idle node syncs at once."""

    async def main(bench: Bench) -> None:
        bench.store.create(service())
        bench.store.create(deployment(20, pod_template(container(readinessProbe=readiness(), env=SLOW))))
        await anyio.sleep(20)
        spec = pod_template(container(readinessProbe=readiness(), env=SLOW, image="app:b"))["spec"]
        bench.store.patch(Ref("Deployment", "app", "t"), {"spec": {"template": {"spec": spec}}})
        await anyio.sleep(60)
        for changes in bench.machine.rules_of.values():
            times = [at for at, _ in changes]
            assert len(times) >= 4
            assert min(b - a for a, b in pairwise(times)) >= 2.0 - 1e-6

    run(main, min_sync_period_s=2.0)


def test_nodes_sync_in_their_own_time() -> None:
    """Under steady change two nodes do not write at the same instants."""

    async def main(bench: Bench) -> None:
        bench.store.create(service())
        bench.store.create(deployment(8))
        await anyio.sleep(5)
        one, two = ([at for at, _ in bench.machine.rules_of[name]] for name in ("lab-worker", "lab-worker2"))
        assert one != two

    run(main)


def _slice(*endpoints: tuple[str, str]) -> Manifest:
    """Endpoints as ("10.0.0.1", "rs") with the letters of their true conditions."""
    names = {"r": "ready", "s": "serving", "t": "terminating"}
    return {
        "metadata": {"namespace": "t", "labels": {SERVICE_NAME: "app"}},
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [
            {"addresses": [ip], "conditions": {name: letter in letters for letter, name in names.items()}}
            for ip, letters in endpoints
        ],
    }


def _service(address: str = "10.96.1.1") -> Manifest:
    spec = {"clusterIP": address, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}
    return {"metadata": {"namespace": "t", "name": "app"}, "spec": spec}


@pytest.mark.parametrize(
    ("endpoints", "wanted"),
    [
        ([("10.0.0.1", "rs"), ("10.0.0.2", "st"), ("10.0.0.3", "")], ["10.0.0.1"]),
        ([("10.0.0.1", ""), ("10.0.0.2", "st"), ("10.0.0.3", "t")], ["10.0.0.2"]),
        ([("10.0.0.1", "s"), ("10.0.0.3", "t")], []),
        ([], []),
    ],
)
def test_which_endpoints_get_traffic(endpoints: list[tuple[str, str]], wanted: list[str]) -> None:
    """The ready ones; when there is none, those that serve while they terminate (KEP-1669); else nobody."""
    [port] = rules.ports([_service()], [_slice(*endpoints)]).values()
    assert [ip for ip, _ in port.endpoints] == wanted


def test_a_service_over_several_slices_is_one_choice() -> None:
    """Readiness in any slice decides, and all ready endpoints share the traffic."""
    slices = [_slice(("10.0.0.1", "st")), _slice(("10.0.0.2", "rs"), ("10.0.0.3", "rs"))]
    [port] = rules.ports([_service()], slices).values()
    assert port.endpoints == (("10.0.0.2", 8080), ("10.0.0.3", 8080))


def test_headless_services_have_no_rules() -> None:
    """clusterIP None is for DNS, not for the proxy."""
    assert rules.ports([_service("None")], [_slice(("10.0.0.1", "rs"))]) == {}


def test_a_transaction_says_only_what_changed() -> None:
    """Nothing for no change; a service whose endpoints stay keeps its chain; one without endpoints has none."""
    one = rules.ports([_service()], [_slice(("10.0.0.1", "rs"), ("10.0.0.2", "rs"))])
    [port] = one.values()
    chain = f"chain ip hazd {chain_of(port)}"

    def words(before: dict[str, ServicePort], after: dict[str, ServicePort]) -> list[str]:
        return [each.words for each in transaction(before, after)]

    assert transaction(one, one) == []
    first = words({}, one)
    assert f"add {chain}" in first
    assert "numgen random mod 2 map { 10.0.0.1:8080, 10.0.0.2:8080 }" in first[-3]
    other = rules.ports([_service(), _service("10.96.1.2")], [_slice(("10.0.0.1", "rs"), ("10.0.0.2", "rs"))])
    assert f"add {chain}" not in words(one, other)
    none = rules.ports([_service()], [])
    gone = words(one, none)
    assert "add 1 elements to set ip hazd no-endpoints" in gone
    assert gone[-1] == f"delete {chain}"
    assert words(none, one).count(f"add {chain}") == 1
    assert not [each for each in words(one, {}) if each.startswith("add")]
