"""The join of the kernel's events with the requests: by client address, port and time, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazd.analysis.observed import AFTER_NS, observe
from hazd.analysis.requests import KINDS, PHASES, Requests
from hazd.analysis.story import PodLife, Story

S = 1_000_000_000
CLIENT = "10.244.0.9"
META: dict[str, Any] = {
    "workers": [{"id": 0, "node": "node-0", "address": CLIENT}, {"id": 1, "node": "node-0", "address": "10.244.0.10"}],
    "observers": [{"node": "node-0", "since_ns": 1, "until_ns": 1000 * S, "gaps": []}],
}
STORY = Story(
    pods={
        "old": PodLife("old", ip="10.244.1.1", created_ns=1, gone_ns=20 * S),
        "new": PodLife("new", ip="10.244.1.2", created_ns=5 * S),
        "heir": PodLife("heir", ip="10.244.1.1", created_ns=30 * S),
    }
)


def requests(*rows: dict[str, Any]) -> Requests:
    """Columns of rows with sensible defaults: a refused request of worker 0 on a new connection."""
    base = {"worker": 0, "new": True, "kind": "refused", "phase": "connect", "pod": "", "port": 0, "sent": 0, "conn": 0}
    full = [base | row for row in rows]
    n = len(full)
    numbers = {name: np.array([row[name] for row in full]) for name in ("worker", "port", "sent", "conn")}
    pod = np.array([row["pod"] for row in full], dtype=object)
    zeros = np.zeros(n, dtype=np.int64)
    return Requests(
        worker=numbers["worker"],
        seq=np.arange(n),
        stream=np.array(["new"] * n, dtype=object),
        new=np.array([row["new"] for row in full], dtype=bool),
        kind=np.array([KINDS.index(row["kind"]) for row in full]),
        phase=np.array([PHASES.index(row["phase"]) for row in full]),
        status=zeros,
        errno=zeros,
        pod=pod,
        peer=pod.copy(),
        local_port=numbers["port"],
        due_ns=numbers["sent"],
        sent_ns=numbers["sent"],
        connected_ns=zeros,
        done_ns=numbers["sent"] + 1000,
        served=zeros,
        conn=numbers["conn"],
    )


def flows(*rows: tuple[int, str, int, str], ended: bool = False) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "node": "node-0",
                "at_ns": at_ns,
                "client": client,
                "client_port": port,
                "endpoint": endpoint,
                "endpoint_port": 8080,
                "ended": ended,
            }
            for at_ns, client, port, endpoint in rows
        ]
    )


def test_a_request_gets_the_endpoint_of_its_own_port_worker_and_time() -> None:
    """Neither another worker's connection from the same port, nor an earlier or later use of the port is taken."""
    found, observed = observe(
        requests({"port": 40000, "sent": 10 * S}, {"port": 40000, "sent": 15 * S}),
        flows(
            (9 * S, CLIENT, 40000, "10.244.1.1"),
            (10 * S + 1, "10.244.0.10", 40000, "10.244.1.1"),
            (10 * S + 2, CLIENT, 40000, "10.244.1.2"),
            (15 * S - 5, CLIENT, 40000, "10.244.1.1"),
        ),
        STORY,
        META,
    )
    assert found.peer.tolist() == ["new", "old"]
    assert observed.endpoint.tolist() == ["10.244.1.2:8080", "10.244.1.1:8080"]
    assert observed.seen.all()
    assert not observed.rejected.any()


def test_an_event_too_late_is_not_this_requests() -> None:
    """A second after the SYN left nothing is joined any more."""
    late = flows((10 * S + AFTER_NS + 1, CLIENT, 40000, "10.244.1.2"))
    _, observed = observe(requests({"port": 40000, "sent": 10 * S, "kind": "timeout"}), late, STORY, META)
    assert not observed.seen.any()


def test_an_address_that_was_given_out_again_belongs_to_the_pod_of_that_time() -> None:
    """The kubelet may give a dead pod's address to a new one."""
    found, _ = observe(
        requests({"port": 1, "sent": 10 * S}, {"port": 2, "sent": 40 * S}),
        flows((10 * S, CLIENT, 1, "10.244.1.1"), (40 * S, CLIENT, 2, "10.244.1.1")),
        STORY,
        META,
    )
    assert found.peer.tolist() == ["old", "heir"]


@pytest.mark.parametrize(("kind", "rejected"), [("refused", True), ("no_route", True), ("timeout", False)])
def test_no_event_and_an_error_at_once_is_a_rejection_by_the_node(kind: str, rejected: bool) -> None:
    """A REJECT rule answers before the connection is tracked; silence without an event is something else."""
    empty = flows((1 * S, CLIENT, 9, "10.244.1.1"))
    _, observed = observe(requests({"port": 40000, "sent": 10 * S, "kind": kind}), empty, STORY, META)
    assert observed.rejected.tolist() == [rejected]
    assert observed.seen.tolist() == [rejected]


@pytest.mark.parametrize(
    "observer",
    [
        {"node": "node-0", "since_ns": 1, "until_ns": 9 * S},
        {"node": "node-0", "since_ns": 11 * S, "until_ns": 1000 * S},
        {"node": "node-0", "since_ns": 1, "until_ns": 1000 * S, "gaps": [[9 * S, 11 * S]]},
        {"node": "node-0", "since_ns": 1, "until_ns": 1000 * S, "missing": 3},
        {"node": "node-1", "since_ns": 1, "until_ns": 1000 * S},
    ],
    ids=["ended before", "began after", "gap", "lines missing", "another node"],
)
def test_where_nobody_watched_nothing_counts_as_a_rejection(observer: dict[str, Any]) -> None:
    """The absence of an event proves something only while every event was read."""
    meta = META | {"observers": [observer]}
    empty = flows((1 * S, CLIENT, 9, "10.244.1.1"))
    _, observed = observe(requests({"port": 40000, "sent": 10 * S}), empty, STORY, meta)
    assert not observed.rejected.any()
    assert not observed.seen.any()


def test_a_kept_connection_inherits_the_endpoint_of_its_first_request() -> None:
    """Conntrack holds the translation for the connection's life."""
    found, observed = observe(
        requests(
            {"port": 7, "sent": 10 * S, "conn": 3, "kind": "ok", "phase": "none"},
            {"port": 7, "sent": 12 * S, "conn": 3, "new": False, "kind": "reset", "phase": "wait"},
            {"port": 7, "sent": 12 * S, "conn": 4, "new": False, "kind": "reset", "phase": "wait"},
        ),
        flows((10 * S, CLIENT, 7, "10.244.1.2")),
        STORY,
        META,
    )
    assert found.peer.tolist() == ["new", "new", ""]
    assert found.pod.tolist() == ["new", "", ""], "a good response without a name is its endpoint's"
    assert observed.seen.tolist() == [True, True, False]


def test_responses_that_name_another_pod_are_counted_against_the_observation() -> None:
    """The observation is tested by what the responses say themselves."""
    _, observed = observe(
        requests(
            {"port": 1, "sent": 10 * S, "kind": "ok", "phase": "none", "pod": "new"},
            {"port": 2, "sent": 10 * S, "kind": "ok", "phase": "none", "pod": "old"},
        ),
        flows((10 * S, CLIENT, 1, "10.244.1.2"), (10 * S, CLIENT, 2, "10.244.1.2")),
        STORY,
        META,
    )
    assert (observed.checked, observed.agreed) == (2, 1)


def test_without_observers_nothing_changes() -> None:
    """A run of before, or one with --observe off."""
    given_ = requests({"port": 1, "sent": 10 * S})
    found, observed = observe(given_, None, STORY, {"workers": META["workers"]})
    assert found is given_
    assert not observed.on
    assert not observed.seen.any()


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(1, 6), st.integers(1, 40)), min_size=1, max_size=40, unique=True)
)
def test_every_request_gets_the_event_made_for_it_whatever_the_order(plan: list[tuple[int, int, int]]) -> None:
    """Events in any order, ports of two workers used again and again two seconds apart: each finds its own."""
    rows = [{"worker": worker, "port": port, "sent": 2 * at * S} for worker, port, at in plan]
    addresses = [item["address"] for item in META["workers"]]
    ends = [f"10.244.9.{index + 1}" for index in range(len(plan))]
    events = [
        (2 * at * S + 1000 * index, addresses[worker], port, ends[index])
        for index, (worker, port, at) in enumerate(plan)
    ]
    _, observed = observe(requests(*rows), flows(*reversed(events)), STORY, META)
    assert observed.endpoint.tolist() == [f"{end}:8080" for end in ends]
