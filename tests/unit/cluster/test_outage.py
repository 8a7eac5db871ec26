"""What is tried again while an API server is away, and how soon."""

from __future__ import annotations

from hazd.cluster.kube.errors import Refused, Unreachable
from hazd.cluster.outage import STARTING_S, Silence, pause_s
from hazd.errors import ClusterError

DENIED = Refused("pods is forbidden", "", 403, None)


def test_pauses_double_up_to_a_limit() -> None:
    """None before the first try, and never one that overflows however long the server is away."""
    assert [pause_s(tries) for tries in range(7)] == [0, 0.1, 0.2, 0.4, 0.8, 1.6, 1.6]
    assert pause_s(10_000, 0.8) == 0.8


def test_a_denial_right_after_an_absence_is_worth_another_try() -> None:
    """An API server that has just come back denies for STARTING_S what it allows later."""
    now_s = 100.0
    silence = Silence(now=lambda: now_s)
    assert not silence.explains(DENIED)
    assert silence.explains(Unreachable("connection refused"))
    assert silence.explains(DENIED)
    now_s += STARTING_S + 0.1
    assert not silence.explains(DENIED)


def test_what_the_server_says_for_good_stays() -> None:
    """429 and 5xx pass, others do not; a good response ends what an absence explains."""
    silence = Silence(now=lambda: 1.0)
    assert [silence.explains(Refused("x", "", status, None)) for status in (429, 500, 503)] == [True] * 3
    silence.broken()
    assert not silence.explains(ClusterError("no kind"))
