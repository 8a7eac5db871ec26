"""What a person sees while a run is under way: requests as a strip of green and red, failures, pods, the step.

Always on standard error: standard output belongs to the summary. On a terminal it is a rich Live view; anywhere else
plain lines, at most one a second. It only shows the hazd.model.Progress that it gets and never slows the run down.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, TextIO

from hazd.model import Observer, Progress
from hazd.report.words import fix_words, kinds_words, number

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.panel import Panel
    from rich.text import Text

BIN_S = 0.5
BINS = 120
_BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass
class State:
    """What is known of the run so far. bins: second -> [ok, failed], the last minute only."""

    trial: str = ""
    position: str = ""
    step: str = ""
    rate: float = 0.0
    ok: int = 0
    failed: int = 0
    due: int = 0
    not_sent: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)
    bins: deque[tuple[float, int, int]] = field(default_factory=lambda: deque(maxlen=BINS))
    pods: dict[str, int] = field(default_factory=dict)
    rollout: dict[str, int] = field(default_factory=dict)
    texts: deque[tuple[float, str, str]] = field(default_factory=lambda: deque(maxlen=6))
    started: float = 0.0
    _last: tuple[float, int, int] = (0.0, 0, 0)

    def take(self, progress: Progress, now: float) -> str:
        """Fold one message in; returns a line worth printing on its own, or ""."""
        data = progress.data
        match progress.what:
            case "trial":
                fixes = fix_words(list(data.get("fixes") or ())) or "no fixes"
                self.__init__()  # type: ignore[misc]
                self.trial, self.started = f"{data.get('scenario', '')} with {fixes}", now
                if data.get("of"):
                    self.position = f"trial {data.get('index', 1)} of {data['of']}"
                return f"{self.position or 'trial'}: {self.trial}"
            case "step":
                self.step = str(data.get("text", ""))
                return self.step
            case "counts":
                self._counts(data, now)
            case "pods":
                self.pods = {str(name): int(count) for name, count in data.items()}
            case "rollout":
                self.rollout = {str(name): int(count) for name, count in data.items()}
            case "event" | "note":
                text = str(data.get("text", ""))
                self.texts.append((now - self.started if self.started else 0.0, progress.what, text))
                return text
            case "trial-done":
                return f"{data.get('name', '')} done: {self.counts_words()}"
            case _:
                pass
        return ""

    def _counts(self, data: Mapping[str, Any], now: float) -> None:
        self.ok, self.failed = int(data.get("ok", 0)), int(data.get("failed", 0))
        self.due, self.not_sent = int(data.get("due", 0)), int(data.get("not_sent", 0))
        self.rate = float(data.get("rate", self.rate))
        self.by_kind = {str(kind): int(count) for kind, count in (data.get("by_kind") or {}).items()}
        since, ok, failed = self._last
        if now - since >= BIN_S:
            if since:
                self.bins.append((now - self.started, max(0, self.ok - ok), max(0, self.failed - failed)))
            self._last = (now, self.ok, self.failed)

    def counts_words(self) -> str:
        failed = f"{number(self.failed)} failed"
        kinds = kinds_words(self.by_kind)
        unsent = f", {number(self.not_sent)} not sent" if self.not_sent else ""
        return f"{number(self.ok)} ok, {failed}{f' ({kinds})' if kinds else ''}{unsent}"

    def pods_words(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in self.pods.items() if count)

    def rollout_words(self) -> str:
        if not self.rollout.get("desired"):
            return ""
        seen = self.rollout
        return f"{seen.get('updated', 0)} updated, {seen.get('available', 0)} available of {seen['desired']}"


class States:
    """The states of all trials under way, by name; several run side by side in labs."""

    def __init__(self) -> None:
        self.under_way: dict[str, State] = {}
        self.latest = State()
        """Of the trial that was heard of last, also when it has ended, and of the run before its first trial."""

    def take(self, progress: Progress, now: float) -> str:
        """Fold one message into its trial's state; returns a line worth printing on its own, or ""."""
        name = progress.trial
        if progress.what == "trial" and name:
            self.under_way[name] = State()
        state = self.under_way.get(name, State() if name else self.latest)
        several = len(self.under_way) > 1
        line = state.take(progress, now)
        self.latest = state
        if progress.what == "trial-done":
            self.under_way.pop(name, None)
        prefix = f"[{name}] " if several and progress.what in ("step", "event", "counts") else ""
        return prefix + line if line else ""


class View:
    """The terminal picture of the trials under way; rich asks for it at every refresh, from a thread of its own."""

    def __init__(self, states: States) -> None:
        self._states = states
        self._lock = Lock()

    @property
    def _state(self) -> State:
        return self._states.latest

    def take(self, progress: Progress, now: float) -> str:
        """Fold one message into the states while no picture is being made of them."""
        with self._lock:
            return self._states.take(progress, now)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with self._lock:
            several = len(self._states.under_way) > 1
            picture = self._several(options) if several else self._picture(options)
        yield picture

    def _several(self, options: ConsoleOptions) -> Panel:
        """Two lines a trial: what it does, with its counts, and a strip of its requests."""
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        width = max(20, options.max_width - 4)
        body = Table.grid(expand=True)
        for state in self._states.under_way.values():
            text = Text.assemble(
                (state.trial, "bold"),
                (f"  {state.position}  ", "dim"),
                f"{state.step}  ",
                (f"{number(state.ok)} ok  ", "green"),
                (f"{number(state.failed)} failed  " if state.failed else "", "bold red"),
                (state.pods_words(), "dim"),
            )
            text.truncate(width, overflow="ellipsis")
            body.add_row(text)
            body.add_row(*strip(state.bins, width, height=1))
        return Panel(body, title=f"{len(self._states.under_way)} trials at a time", title_align="left")

    def _picture(self, options: ConsoleOptions) -> Panel:
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        state = self._state
        width = max(20, options.max_width - 4)
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="dim", no_wrap=True)
        facts.add_column(ratio=1)
        counts = Text.assemble(
            (f"{number(state.ok)} ok", "green"),
            "   ",
            (f"{number(state.failed)} failed", "bold red" if state.failed else "dim"),
            "   ",
            (kinds_words(state.by_kind), "red"),
            (f"   {number(state.not_sent)} not sent" if state.not_sent else "", "yellow"),
        )
        facts.add_row("requests", counts)
        if state.pods:
            facts.add_row("pods", self._pods())
        if words := state.rollout_words():
            facts.add_row("rollout", Text.assemble(self._progress_bar(24), "  ", words))
        facts.add_row("now", Text(state.step, style="bold"))
        events = [
            Text.assemble((f"{at:6.1f} s  ", "dim"), (text, "yellow" if what == "note" else ""))
            for at, what, text in state.texts
        ]
        title = f"[bold]{state.trial}[/bold]" + (f"  [dim]{state.position}[/dim]" if state.position else "")
        body = Table.grid()
        for line in (*strip(state.bins, width), self._scale(width), Text("")):
            body.add_row(line)
        body.add_row(facts)
        body.add_row("")
        for text in events:
            text.truncate(width, overflow="ellipsis")
            body.add_row(text)
        return Panel(body, title=title, title_align="left", border_style="red" if state.failed else "blue")

    def _scale(self, width: int) -> Text:
        from rich.text import Text

        state = self._state
        if not state.bins:
            return Text("")
        shown = min(len(state.bins), width)
        rate = f"requests per {BIN_S:g} s, {state.rate:g}/s asked for"
        return Text(f"{rate}{'now'.rjust(max(4, shown - len(rate)))}"[:width], style="dim")

    def _pods(self) -> Text:
        from rich.text import Text

        styles = {"ready": "green", "starting": "cyan", "terminating": "magenta"}
        text = Text()
        for name, count in self._state.pods.items():
            if count:
                text.append("■" * min(count, 20), style=styles.get(name, "white"))
                text.append(f" {count} {name}   ")
        return text

    def _progress_bar(self, width: int) -> Text:
        from rich.text import Text

        seen = self._state.rollout
        share = min(1.0, seen.get("updated", 0) / seen["desired"])
        done = round(share * width)
        return Text.assemble(("━" * done, "green"), ("━" * (width - done), "dim"))


def strip(bins: deque[tuple[float, int, int]], width: int, height: int = 4) -> list[Text]:
    """A bar per bin, newest at the right: failed requests in red at the bottom of each bar, good ones green above."""
    from rich.text import Text

    shown = list(bins)[-width:]
    top = max((ok + failed for _, ok, failed in shown), default=0)
    rows = [Text(no_wrap=True) for _ in range(height)]
    for _, ok, failed in shown:
        total = (ok + failed) / top * height if top else 0.0
        # a single failure must be seen: never less than an eighth of a row
        red = max(failed / top * height, 0.125) if failed else 0.0
        for row in range(height):
            level = min(1.0, max(0.0, total - row))
            bad = min(1.0, max(0.0, red - row))
            block = _BLOCKS[round(level * 8)]
            if 0.0 < bad < level:  # both in one cell: the red part stands before a green ground
                rows[row].append(_BLOCKS[max(1, round(bad * 8))], style="red on green" if level >= 1 else "red")
            else:
                rows[row].append(_BLOCKS[max(1, round(bad * 8))] if bad else block, style="red" if bad else "green")
    return rows[::-1]


class Lines:
    """Plain lines for logs: steps, events and notes as they come, counts at most once a second."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._clock = clock
        self._states = States()
        self._begun = clock()
        self._counted = 0.0
        self._said = ""

    def __call__(self, progress: Progress) -> None:
        now = self._clock()
        text = self._states.take(progress, now)
        if progress.what == "counts" and now - self._counted >= 1.0:
            self._counted = now
            state = self._states.latest
            pods = state.pods_words()
            several = f"[{progress.trial}] " if len(self._states.under_way) > 1 else ""
            text = several + state.counts_words() + (f"; pods: {pods}" if pods else "")
        if text and text != self._said:
            self._said = text
            print(f"{now - self._begun:7.1f} s  {text}", file=self._stream, flush=True)


@contextmanager
def live_view(stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> Iterator[Observer]:
    """An Observer that shows what is reported until the context ends. stream: standard error unless given."""
    import sys

    from rich.console import Console

    stream = stream or sys.stderr
    console = Console(file=stream)
    if not console.is_terminal or console.is_dumb_terminal:
        yield Lines(stream, clock)
        return
    from rich.live import Live

    view = View(States())
    with Live(view, console=console, refresh_per_second=8, transient=True) as live:

        def observe(progress: Progress) -> None:
            line = view.take(progress, clock())
            if progress.what in ("trial-done", "note"):
                live.console.print(line, highlight=False, markup=False)

        yield observe


__all__ = ["BIN_S", "Lines", "State", "States", "View", "live_view", "strip"]
