"""The live view: what it shows of each message, and that plain output stays bounded."""

from __future__ import annotations

import io
from collections import deque
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from hazd.model import Progress
from hazd.report.live import Lines, State, States, View, live_view, strip


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def counts(ok: int, failed: int, **more: object) -> Progress:
    return Progress("counts", {"ok": ok, "failed": failed, "due": ok + failed, "by_kind": {"refused": failed}} | more)


def test_plain_lines_come_at_most_once_a_second() -> None:
    """Fifty messages in five seconds are five lines of counts, on the stream given."""
    clock, out = Clock(), io.StringIO()
    lines = Lines(out, clock)
    for step in range(50):
        clock.now += 0.1
        lines(counts(step * 30, step))
    assert 4 <= len(out.getvalue().splitlines()) <= 5


def test_steps_events_and_notes_are_lines_of_their_own() -> None:
    """What a person must not miss is printed at once, and the same twice is printed once."""
    clock, out = Clock(), io.StringIO()
    lines = Lines(out, clock)
    lines(Progress("trial", {"name": "x", "scenario": "rollout", "fixes": ["prestop"], "index": 1, "of": 2}))
    for what, text in (("step", "warm-up"), ("step", "warm-up"), ("event", "set image b"), ("note", "watch was late")):
        lines(Progress(what, {"text": text}))
    text = out.getvalue()
    assert "trial 1 of 2: rollout with preStop" in text
    assert [text.count(word) for word in ("warm-up", "set image b", "watch was late")] == [1, 1, 1]


def test_not_on_a_terminal_nothing_is_drawn() -> None:
    """A pipe gets lines, no escape sequences, and standard output nothing at all."""
    out = io.StringIO()
    with live_view(out, Clock()) as observer:
        observer(counts(10, 2))
        observer(Progress("pods", {"ready": 3, "terminating": 1}))
        observer(Progress("trial-done", {"name": "rollout--baseline"}))
    assert "\x1b" not in out.getvalue()
    assert "rollout--baseline done: 10 ok, 2 failed (2 refused)" in out.getvalue()


def test_the_view_shows_counts_pods_and_the_rollout() -> None:
    """Everything a person wants to know is on the picture."""
    from rich.console import Console

    state = State()
    state.take(Progress("trial", {"name": "x", "scenario": "rollout", "fixes": [], "index": 1, "of": 2}), 1.0)
    state.take(counts(700, 47, not_sent=3, rate=200), 2.0)
    state.take(Progress("pods", {"ready": 4, "starting": 1, "terminating": 2}), 2.0)
    state.take(Progress("rollout", {"updated": 3, "available": 4, "desired": 4}), 2.0)
    state.take(Progress("step", {"text": "disruption: rollout"}), 2.0)
    state.take(Progress("event", {"text": "set image b"}), 3.0)
    console = Console(width=90, record=True, file=io.StringIO())
    states = States()
    states.latest = state
    console.print(View(states))
    text = console.export_text()
    for words in (
        "700 ok",
        "47 failed",
        "47 refused",
        "3 not sent",
        "4 ready",
        "2 terminating",
        "3 updated",
        "set image b",
    ):
        assert words in text
    assert "disruption: rollout" in text


def test_a_new_trial_starts_from_nothing() -> None:
    """No count of the trial before is shown under the next one's name."""
    state = State()
    state.take(counts(700, 47), 1.0)
    state.take(Progress("trial", {"name": "y", "scenario": "drain", "fixes": []}), 2.0)
    assert (state.ok, state.failed, state.by_kind) == (0, 0, {})
    assert "drain with no fixes" in state.trial


def test_without_bins_the_counts_themselves_make_the_strip() -> None:
    """An observer that is told only totals still shows the rate over time."""
    state = State()
    for second in range(5):
        state.take(counts(second * 100, second * 10), 10.0 + second)
    assert [(ok, failed) for _, ok, failed in state.bins] == [(100, 10)] * 4


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=30), st.integers(1, 40))
def test_a_single_failure_is_always_seen(values: list[tuple[int, int]], width: int) -> None:
    """Every bin that is shown with a failure in it has red at its foot, and none without one has."""
    bins = deque((index * 0.5, ok, failed) for index, (ok, failed) in enumerate(values))
    foot = strip(bins, width)[-1]
    styles = ["red" in str(span.style) for span in foot.spans]
    assert styles == [failed > 0 for _, failed in values[-width:]]


def begin(name: str) -> Progress:
    return Progress("trial", {"name": name, "scenario": name, "fixes": [], "index": 1, "of": 2}, name)


def counted(name: str, ok: int) -> Progress:
    return replace(counts(ok, 0), trial=name)


def test_trials_side_by_side_stay_apart() -> None:
    """Each line names its trial while there are several, counts are each trial's own, one alone needs no name."""
    clock, out = Clock(), io.StringIO()
    lines = Lines(out, clock)
    for name in ("drain", "scale"):
        lines(begin(name))
    lines(Progress("step", {"text": "warm-up"}, "drain"))
    for number, name in ((10, "drain"), (700, "scale")):
        clock.now += 1
        lines(counted(name, number))
        lines(Progress("pods", {"ready": 4}, name))
    lines(Progress("trial-done", {"name": "drain"}, "drain"))
    clock.now += 1
    lines(Progress("step", {"text": "settling"}, "scale"))
    text = [line.split(" s  ", 1)[1] for line in out.getvalue().splitlines()]
    assert text[2:] == [
        "[drain] warm-up",
        "[drain] 10 ok, 0 failed",
        "[scale] 700 ok, 0 failed",
        "drain done: 10 ok, 0 failed",
        "settling",
    ]


def test_the_picture_of_several_trials_has_a_row_for_each() -> None:
    """Names, steps and counts of all that are under way; those that ended are no longer there."""
    states = States()
    for name in ("drain", "scale", "gone"):
        states.take(begin(name), 1.0)
        states.take(counted(name, 5), 2.0)
    states.take(Progress("trial-done", {"name": "gone"}, "gone"), 3.0)
    from rich.console import Console

    console = Console(width=100, file=io.StringIO(), color_system=None)
    console.print(View(states))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "2 trials at a time" in text
    assert "drain with no fixes" in text
    assert "scale with no fixes" in text
    assert "gone" not in text
