"""The observers in virtual time: what they say becomes flows; what is not known to be whole is a gap or an error."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pandas as pd

from hazd.journal.flows import FLOWS_FILE, FlowWriter
from hazd.observe.conntrack import Flow
from hazd.observe.lines import Line, encode
from hazd.observe.pod import observer_pod
from hazd.trial.observers import READY_S, Observers
from tests.unit.trial.bench import Desk, now_ns, on_desk

NODE = "lab-control-plane"
POD = observer_pod(0, namespace="t", node=NODE, image="app:a", labels={"a": "b"}, service="10.96.0.10:80", most_s=60)
FLOW = Flow(b"\x0a\xf4\0\5", 40000, b"\x0a\xf4\1\7", 8080)


def observe(
    tmp_path: Path, say: Callable[[Desk], Coroutine[Any, Any, None]], *, skew_ns: int = 0
) -> tuple[dict[str, Any], Any]:
    """Launch one observer, let `say` write its log, and give its account and the flows of the journal."""
    found: list[dict[str, Any]] = []

    async def test(desk: Desk) -> None:
        flows = FlowWriter(tmp_path)
        observers = Observers(desk, flows)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say, desk)
            await observers.launch([POD], {NODE: skew_ns}, tasks)
            await anyio.sleep(5)
            await observers.finish(now_ns() - 1)
            tasks.cancel_scope.cancel()
        flows.close()
        found.extend(observers.accounts())

    on_desk(test)
    (account,) = found
    path = tmp_path / FLOWS_FILE
    return account, pd.read_feather(path) if path.exists() else None


async def log(desk: Desk, *lines: Line) -> None:
    """Write the observer's lines once its container runs."""
    while not any(each["metadata"]["name"] == POD["metadata"]["name"] for each in desk.store.list("Pod")):
        await anyio.sleep(0.1)
    await anyio.sleep(3)
    desk.write_log(POD["metadata"]["name"], *(encode(line) for line in lines))


def test_what_an_observer_says_becomes_flows_on_our_clock(tmp_path: Path) -> None:
    """Addresses as text, times moved by the node's clock offset, everything counted."""

    async def say(desk: Desk) -> None:
        ended = Flow(FLOW.client, 40001, FLOW.endpoint, 8080, ended=True)
        lines = [
            Line("listening", 1000),
            Line("flows", 2000, 0, flows=((1500, FLOW), (1600, ended))),
            Line("alive", 10**19, 2, detail={"cpu_ms": 7}),
        ]
        await log(desk, *lines)

    account, flows = observe(tmp_path, say, skew_ns=50)
    assert flows.at_ns.tolist() == [1550, 1650]
    assert flows.client.tolist() == ["10.244.0.5"] * 2
    assert flows.endpoint.tolist() == ["10.244.1.7"] * 2
    assert flows.ended.tolist() == [False, True]
    assert (account["since_ns"], account["flows"], account["missing"], account["cpu_ms"]) == (1050, 2, 0, 7)
    assert (account["gaps"], account["error"]) == ([], "")


def test_a_line_that_did_not_arrive_is_missed(tmp_path: Path) -> None:
    """The numbers of later lines say how many flows were in it."""

    async def say(desk: Desk) -> None:
        await log(desk, Line("listening", 1), Line("flows", 3, 4, flows=((3, FLOW),)), Line("alive", 10**19, 9))

    account, _ = observe(tmp_path, say)
    assert (account["flows"], account["missing"]) == (1, 8)


def test_an_overrun_and_a_damaged_line_are_gaps(tmp_path: Path) -> None:
    """What the kernel dropped has its span; a line that cannot be read is one too, and named."""

    async def say(desk: Desk) -> None:
        await log(desk, Line("listening", 100), Line("gap", 300, since_ns=200))
        desk.write_log(POD["metadata"]["name"], '{"observed":"flows","t_ns":5', encode(Line("end", 10**19)))

    account, _ = observe(tmp_path, say)
    assert account["gaps"][0] == [200, 300]
    assert len(account["gaps"]) == 2
    assert "damaged" in account["error"]


def test_an_observer_that_may_not_listen_says_why_and_holds_nobody_up(tmp_path: Path) -> None:
    """The kernel's refusal is the account's error; the trial goes on."""

    async def say(desk: Desk) -> None:
        await log(desk, Line("error", 5, detail={"text": "Operation not permitted: needs NET_ADMIN"}))

    account, flows = observe(tmp_path, say)
    assert "NET_ADMIN" in account["error"]
    assert flows is None


def test_an_observer_that_never_starts_is_given_up_in_bounded_time(tmp_path: Path) -> None:
    """Its error says so after READY_S seconds."""

    async def say(desk: Desk) -> None:
        await anyio.lowlevel.checkpoint()

    account, flows = observe(tmp_path, say)
    assert f"{READY_S:g} s" in account["error"]
    assert flows is None
