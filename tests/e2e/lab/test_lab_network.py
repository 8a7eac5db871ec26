"""What only the kernel can show: errnos, rules that it accepts, connections that outlive them, nodes that stop."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import anyio
import pytest

from hazd.cluster.lab import LabCluster, http
from hazd.errors import ClusterError
from hazd.model import Ref

from .bench import SOURCE, ask, listening, pod, until

pytestmark = [pytest.mark.lab, pytest.mark.anyio]


async def test_a_service_leads_to_its_pods_from_every_node_and_pod(lab: LabCluster) -> None:
    """Real DNAT on each node, to pods of both nodes, also from a pod to itself; other ports stay closed."""
    service = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    made = await lab.create({"kind": "Service", "metadata": {"name": "web", "namespace": "t"}, "spec": service})
    address = made["spec"]["clusterIP"]

    async def rejected() -> bool:
        return await ask(lab, "x-worker", address) == "ECONNREFUSED"

    await until("a service without endpoints is rejected", rejected)
    await lab.create(pod("one"))
    await lab.create(pod("two", node="x-worker2"))
    pods = await listening(lab, "one", "two")
    places = [*lab.options.node_names, *(each["metadata"]["uid"] for each in pods)]

    async def both(place: str) -> bool:
        return {await ask(lab, place, address) for _ in range(20)} == {"one", "two"}

    for place in places:
        await until(f"both pods respond at {place}", lambda place=place: both(place))  # type: ignore[misc]
    assert await ask(lab, "x-worker", pods[0]["status"]["podIP"], 8081) == "ECONNREFUSED"
    await lab.delete(Ref("Service", "web", "t"))

    async def unknown() -> bool:
        return await ask(lab, "x-worker", address, timeout_s=0.5) == "timeout"

    await until("the rules forget the service", unknown)


async def test_a_deleted_pods_address_has_no_route(lab: LabCluster) -> None:
    """After the pod's end the node asks by ARP in vain: EHOSTUNREACH, from a fresh neighbour's view."""
    await lab.create(pod("one"))
    [one] = await listening(lab, "one")
    await lab.delete(Ref("Pod", "one", "t"))

    async def gone() -> bool:
        return not await lab.list("Pod", "t")

    await until("the pod to be gone", gone)
    address = one["status"]["podIP"]
    beside = address.rpartition(".")[0] + ".200"  # never a pod's: no neighbour entry that could be stale
    assert await ask(lab, "x-worker2", beside, 8080) == "EHOSTUNREACH"
    assert await ask(lab, "x-worker", address, 8080) in ("EHOSTUNREACH", "timeout")


async def test_an_established_connection_survives_a_change_of_rules(lab: LabCluster) -> None:
    """Conntrack keeps it: a pod that is no longer in the rules still responds on an established connection."""
    echo = (
        "import socket,threading\n"
        "def serve(c):\n"
        "    while d:=c.recv(99): c.sendall(d)\n"
        "s=socket.create_server(('',8080))\n"
        "while True: threading.Thread(target=serve,args=(s.accept()[0],)).start()\n"
    )
    service = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    made = await lab.create({"kind": "Service", "metadata": {"name": "web", "namespace": "t"}, "spec": service})
    await lab.create(pod("one", echo))
    machine: Any = lab.plant.machine

    async def connected() -> Any:
        sock = await machine._socket("x-worker2")
        try:
            await http.connect(sock, made["spec"]["clusterIP"], 80)
        except OSError:
            sock.close()
            return None
        return sock

    with await until("a connection through the service", connected) as sock:
        await lab.patch(Ref("Service", "web", "t"), {"spec": {"selector": {"app": "nobody"}}})

        async def rejected() -> bool:
            return await ask(lab, "x-worker2", made["spec"]["clusterIP"]) == "ECONNREFUSED"

        await until("new connections are rejected", rejected)
        sock.send(b"still there")
        await anyio.wait_readable(sock)
        assert sock.recv(99) == b"still there"


async def test_a_stopped_node_is_silent_and_comes_back(lab: LabCluster) -> None:
    """Power off: no FIN, no RST, no route in the end; its pods run again after power on, under a new address."""
    await lab.create(pod("one"))
    await lab.create(pod("two", node="x-worker2"))
    one, _ = await listening(lab, "one", "two")
    await lab.stop_node("x-worker")
    assert await ask(lab, "x-worker2", one["status"]["podIP"], 8080) in ("EHOSTUNREACH", "timeout")
    with pytest.raises(ClusterError):
        await lab.pod_request(Ref("Pod", "one", "t"), 8080, "GET", "/")
    await lab.start_node("x-worker")

    async def again() -> bool:
        back = await lab.get(Ref("Pod", "one", "t"))
        return bool(back["status"]["containerStatuses"][0]["restartCount"] == 1)

    await until("the pod's container is started again", again)
    await listening(lab, "one", "two")


async def test_nodes_come_back_however_often_and_in_whatever_order_they_stop(lab: LabCluster) -> None:
    """Each start gives the node a link of its own: with no pod at all, beside running nodes, twice in one lab."""
    for name in ("x-worker", "x-worker2", "x-worker"):
        await lab.stop_node(name)
        await lab.start_node(name)
    await lab.stop_node("x-worker2")
    await lab.stop_node("x-worker")
    await lab.start_node("x-worker")
    await lab.start_node("x-worker2")
    await lab.create(pod("one"))
    await lab.create(pod("two", node="x-worker2"))
    one, two = await listening(lab, "one", "two")
    assert await ask(lab, one["metadata"]["uid"], two["status"]["podIP"], 8080) == "two"
    assert await ask(lab, two["metadata"]["uid"], one["status"]["podIP"], 8080) == "one"


REFUSED = """
import errno
from hazd.cluster.lab.linux import nftables
from hazd.cluster.lab.linux.launch import isolate
from hazd.cluster.lab.linux.links import Links
from hazd.cluster.lab.linux.service_rules import ServiceRules
from hazd.cluster.lab.service_port import ServicePort

isolate()
kernel, table = nftables.Rules(), nftables.Table("try")
kernel.apply([table.add(), table.add_chain("one")])
for changes, wanted in (
    ([table.add_chain("two"), table.delete_chain("nobody")], (errno.ENOENT, "'delete chain ip try nobody'")),
    (
        [
            table.add_chain("two"),
            table.add_rule("one", "jump two", nftables.verdict(nftables.JUMP, "two")),
            table.delete_chain("two"),
        ],
        (errno.EBUSY, "'delete chain ip try two'"),
    ),
):
    try:
        kernel.apply(changes)
        raise SystemExit("accepted")
    except OSError as problem:
        assert problem.errno == wanted[0], problem
        assert wanted[1] in problem.strerror, problem
try:
    kernel.apply([table.delete_chain("two")])
    raise SystemExit("a transaction was applied by half")
except OSError as problem:
    assert problem.errno == errno.ENOENT, problem

rules = ServiceRules()
good = ServicePort("t/web", "10.96.0.1", "tcp", 80, (("10.244.0.2", 80),))
rules.set([good])
for count in (0, 1, 3000, 2, 0, 1):
    endpoints = tuple((f"10.{n >> 8}.{n & 255}.2", 80) for n in range(count))
    rules.set([ServicePort("t/web", "10.96.0.1", "tcp", 80, endpoints)])
links = Links()
links.add_bridge("b", "02:00:00:00:00:01")
try:
    links.add_bridge("b", "02:00:00:00:00:01")
    raise SystemExit("accepted")
except OSError as problem:
    assert (problem.errno, str(problem.strerror)[:14]) == (errno.EEXIST, "add bridge b: "), problem
"""


def test_what_the_kernel_refuses_is_named() -> None:
    """The change, its errno, and nothing of its transaction applied; thousands of endpoints in one transaction."""
    environ = {**os.environ, "PYTHONPATH": SOURCE}
    done = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True, env=environ, timeout=60)
    assert done.returncode == 0, done.stderr
