"""Statistics, outages and accounting: the sums that everything else rests on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from hazd.analysis.accounting import account
from hazd.analysis.outages import find_outages
from hazd.analysis.requests import Requests, read_requests
from hazd.analysis.stats import gini, percentile, spread, upper_bound
from hazd.journal import decode_records, read_trial, sample_schema
from hazd.record import RECORD
from tests.golden.simulated import Pod, World
from tests.golden.worlds import rollout


def requests_of(rows: list[dict[str, int]]) -> Requests:
    """Requests from short rows; what a row leaves out is 0. seq counts up, due is seq ms."""
    import pyarrow as pa

    packed = b""
    for index, row in enumerate(rows):
        at = 1_000_000 * (index + 1)
        values = {"seq": index, "due_ns": at, "sent_ns": at, "done_ns": at + 500_000, "conn": index + 1} | row
        names = ("seq", "stream", "connection", "kind", "phase", "status", "errno", "pod", "local_port")
        times = ("due_ns", "sent_ns", "connected_ns", "first_byte_ns", "done_ns", "served", "conn")
        packed += RECORD.pack(*(values.get(name, 0) for name in (*names, *times)))
    batch = decode_records(packed, 0, ["new", "reused"], ["", "app-a", "app-b"])
    return read_requests(pa.Table.from_batches([batch], schema=sample_schema()).to_pandas())


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(1, 5000))
def test_the_bound_is_the_rate_at_which_so_few_failures_have_five_per_cent(failed: int, total: int) -> None:
    """Clopper-Pearson by its definition: at the bound, `failed` or fewer happen with probability 0.05."""
    bound = upper_bound(failed, total)
    if failed >= total:
        assert bound == 1.0
    else:
        assert binom.cdf(failed, total, bound) == pytest.approx(0.05, abs=1e-6)


def test_the_bound_of_a_perfect_run_is_the_published_figure() -> None:
    """0 of 7,500: 0.04 %."""
    assert upper_bound(0, 7500) == pytest.approx(0.0004, abs=1e-5)
    assert upper_bound(0, 0) == 1.0


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_percentile_is_a_measured_value_that_enough_values_do_not_exceed(values: list[float], share: float) -> None:
    """Nearest rank: always one of the values, and at least that share of them is not above it."""
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


def test_nothing_measured_is_none_and_not_zero() -> None:
    """Empty inputs give None, since 0 ms would be a claim."""
    assert percentile([], 0.5) is None
    assert spread([]) == {"n": 0, "p50": None, "max": None}
    assert gini([]) is None
    assert gini([0, 0]) is None


@settings(deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=1, max_size=30), st.integers(1, 50))
def test_gini_does_not_depend_on_scale_or_order(counts: list[int], factor: int) -> None:
    """Shares alone matter."""
    first = gini(counts)
    assert first is not None
    assert 0 <= first < 1
    assert gini([count * factor for count in reversed(counts)]) == pytest.approx(first)


def test_gini_of_all_alike_and_of_one_that_has_all() -> None:
    """The two ends of the scale."""
    assert gini([5, 5, 5, 5]) == pytest.approx(0)
    assert gini([0, 0, 0, 20]) == pytest.approx(0.75)


@settings(deadline=None)
@given(st.lists(st.sampled_from([0, 0, 0, 1, 3]), min_size=1, max_size=60))
def test_outages_are_the_maximal_runs_of_failures(kinds: list[int]) -> None:
    """Every failure is in exactly one outage, none holds a good request, and no two touch."""
    requests = requests_of([{"kind": kind, "phase": 1 if kind else 0, "pod": 0 if kind else 1} for kind in kinds])
    outages = find_outages(requests, {0: "node-0"})
    assert sum(outage.requests for outage in outages) == sum(kind != 0 for kind in kinds)
    for outage in outages:
        inside = (requests.sent_ns >= outage.first_failed_ns) & (requests.sent_ns <= outage.last_failed_ns)
        assert not requests.ok[inside].any()
        assert sum(outage.failures.values()) == outage.requests
        assert outage.length_ms >= 0
    edges = [edge for outage in outages for edge in (outage.first_failed_ns, outage.last_failed_ns)]
    assert edges == sorted(edges)


def test_an_outage_reaches_from_the_last_good_to_the_next_good_request() -> None:
    """Length is what the client went without; at an open end it stops at the last failure."""
    requests = requests_of([{"pod": 1}, {"kind": 1, "phase": 1}, {"kind": 1, "phase": 1}, {"pod": 1}, {"kind": 3}])
    first, last = find_outages(requests, {0: "node-0"})
    assert (first.vantage, first.stream, first.requests, first.length_ms) == ("node-0", "new", 2, 3.0)
    assert (last.first_good_ns, last.length_ms) == (None, 1.0)


def test_streams_and_workers_have_outages_of_their_own(tmp_path: Path) -> None:
    """A good answer of one stream does not end another stream's outage."""
    requests = requests_of([{"kind": 1, "phase": 1}, {"stream": 1, "pod": 1}, {"kind": 1, "phase": 1}])
    assert [outage.requests for outage in find_outages(requests, {})] == [2]


def test_a_kept_connection_remembers_its_pod() -> None:
    """A failed request on a connection that answered before is known to have gone to that pod."""
    requests = requests_of(
        [
            {"conn": 7, "pod": 1, "stream": 1},
            {"conn": 7, "kind": 4, "phase": 4, "connection": 1, "stream": 1},
            {"kind": 1},
        ]
    )
    assert requests.peer.tolist() == ["app-a", "app-a", ""]
    assert requests.by_kind()["reset"] == 1


def meta_for(requests: Requests, **more: Any) -> dict[str, Any]:
    number = len(requests)
    return {"workers": [{"id": 0, "due": number, "recorded": number, "not_sent": 0, "sha256_ok": True} | more]}


def test_accounts_that_agree_say_so(tmp_path: Path) -> None:
    """due = recorded + not sent, and the pods counted what the clients got."""
    record = read_trial(rollout().write(tmp_path / "trial"))
    found = account(read_requests(record.samples), record.meta)
    assert found.complete
    assert found.reconciled
    assert found.due == found.recorded == len(record.samples)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"due": 12}, "12 due, but 3 recorded"),
        ({"recorded": 4, "due": 4}, "the journal holds 3"),
        ({"sha256_ok": False}, "checksum"),
        ({"due": None}, "never said"),
        ({"error": "lost"}, "lost"),
    ],
)
def test_accounts_that_do_not_add_up_name_the_worker(change: dict[str, Any], words: str) -> None:
    """Every way a worker's sums can be wrong is found and said."""
    requests = requests_of([{"pod": 1}] * 3)
    (problem,) = account(requests, meta_for(requests, **change)).problems
    assert words in problem
    assert "worker 0" in problem


def test_a_lost_worker_is_named_with_what_it_missed() -> None:
    """Its due requests stay in the sum as lost; one reason names worker, node, span and number."""
    requests = requests_of([{"pod": 1}] * 3)
    gone = {"due": 10, "lost": 7, "sha256_ok": False, "error": "its pod is gone", "node": "n1"}
    meta = meta_for(requests, **gone, missed_ns=[3_500_000_000, 6_000_000_000])
    meta["phases"] = {"traffic_start_ns": 1_000_000_000}
    found = account(requests, meta)
    (problem,) = found.problems
    assert (found.due, found.recorded, found.not_sent, found.lost) == (10, 3, 0, 7)
    for words in ("worker 0 on n1", "7 requests", "from 2.500 s to 5.000 s", "its pod is gone"):
        assert words in problem


def test_doubled_and_missing_sequence_numbers_are_found() -> None:
    """A record counted twice, or a hole in the schedule, is no complete account."""
    doubled = requests_of([{"seq": 0}, {"seq": 1}, {"seq": 1}])
    assert any("twice" in problem for problem in account(doubled, meta_for(doubled)).problems)
    holes = requests_of([{"seq": 0}, {"seq": 1}, {"seq": 5}])
    assert any("missing" in problem for problem in account(holes, meta_for(holes)).problems)


def test_no_worker_is_no_account() -> None:
    """Samples without any worker's word for what was due prove nothing."""
    requests = requests_of([{"pod": 1}])
    assert not account(requests, {}).complete


@pytest.mark.parametrize(
    ("served", "explained", "words"),
    [
        ({"served": 3, "preflight": 10, "final": True}, True, ""),
        ({"served": 4, "preflight": 10, "final": True}, True, "failed at the client"),
        ({"served": 1, "preflight": 10, "final": False}, False, "its last count was not read: 2 are not in it"),
        ({"served": 1, "preflight": 10, "final": True}, False, "it counted 1"),
        ({"served": 80, "preflight": 10, "final": True}, False, "it counted 80"),
        (None, False, "not read"),
    ],
)
def test_a_pods_own_count_is_reconciled_or_not(served: dict[str, Any] | None, explained: bool, words: str) -> None:
    """Differences count as explained only when a reason can be named that is large enough."""
    requests = requests_of([{"pod": 1}] * 3 + [{"kind": 5, "phase": 4}, {"kind": 1, "phase": 1}])
    meta = meta_for(requests) | {"served": {"app-a": served} if served else {}}
    (count,) = account(requests, meta).pods
    assert count.explained is explained
    assert words in count.note


def test_columns_survive_missing_times() -> None:
    """Null times become 0, and every row keeps its own values."""
    requests = requests_of([{"kind": 1, "phase": 1}, {"pod": 2, "connected_ns": 2_000_001, "status": 200}])
    assert requests.connected_ns.tolist() == [0, 2_000_001]
    assert requests.pod.tolist() == ["", "app-b"]
    assert np.array_equal(requests.ok, [False, True])


def test_an_empty_trial_is_still_analysed(tmp_path: Path) -> None:
    """No sample at all: INCONCLUSIVE, without an error."""
    from hazd.analysis import analyse, summarise

    world = World([Pod("app-a")], rate=0.0)
    result = analyse(read_trial(world.write(tmp_path / "trial")))
    assert result.verdict.outcome == "INCONCLUSIVE"
    assert summarise({}, [result])["trials"][0]["latency_ms"]["p50"] is None
