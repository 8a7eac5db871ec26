"""What a scenario is, where scenarios are found, and the stage they act on.

A scenario is one file: a header and one coroutine `disrupt(stage)`. Everything else (set-up, warm-up, traffic,
settling, teardown) belongs to hazd/trial. The stage speaks kubectl's verbs; each call marks the timeline and, where it
changes something outside the trial's namespace, notes how it is restored.
"""

from __future__ import annotations

import importlib.util
import inspect
import math
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from hazd.errors import UsageError
from hazd.fixes import FixSettings
from hazd.model import Manifest

if TYPE_CHECKING:
    from hazd.stage import Stage

Disrupt: TypeAlias = "Callable[[Stage], Awaitable[None]]"
Expects: TypeAlias = Mapping[str, int | str] | tuple[str, ...]
Prepare: TypeAlias = Callable[[tuple[Manifest, ...], Mapping[str, Any]], tuple[Manifest, ...]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A disruption and what it needs.

    summary: one line for `hazd list`. workers: schedulable nodes that must be there. replicas: default of --replicas.
    takes_nodes: how many of them it takes away, or the name of the option that says so; one more must then be there,
    and no traffic worker is put on those.
    needs: abilities of the cluster beyond plain Kubernetes ("stop-node", "metrics", "vpa"), checked before anything
    is changed. fixes: names of the fixes that cure something here, in the order they are usually tried.
    options: the scenario's own options with their defaults; --NAME on the command line or --set NAME=VALUE. choices:
    the values that an option of words may have. least: the smallest value of an option of numbers, 0 unless given.
    expects: what must have been seen for the trial to count, by the names of analysis.verdict.count_transitions: names
    (one at least of each), or how many at least: a number, "replicas", or an option's name (its value, at most the
    replicas; 0 stands for them). A function of the options where they decide it.
    placement: "spread" (the scheduler's choice) or "packed" (all replicas on one node unless a fix says otherwise).
    streams: connection streams when --connection is not given. profile: load profile when --profile is not given; rates
    in it may be percentages of --rate. fix_settings: of the fixes, where the caller does not say otherwise.
    even_shares: the verdict asks whether pods that were added get their share of the requests.
    prepare: pure, (documents, options, "rate" and "workload") -> documents, for what the scenario needs in the
    manifests. sample_only: why it needs hazd's own sample app, "" where any workload will do.
    """

    name: str
    summary: str
    disrupt: Disrupt
    doc: str = ""
    workers: int = 1
    takes_nodes: int | str = 0
    replicas: int = 4
    needs: tuple[str, ...] = ()
    fixes: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    least: Mapping[str, float] = field(default_factory=dict)
    expects: Expects | Callable[[Mapping[str, Any]], Expects] = ("terminations",)
    placement: str = "spread"
    streams: tuple[str, ...] = ("new", "reused")
    profile: str = "constant"
    fix_settings: FixSettings = field(default_factory=FixSettings)
    even_shares: bool = False
    prepare: Prepare | None = None
    sample_only: str = ""

    def expected(self, options: Mapping[str, Any], replicas: int) -> dict[str, int]:
        """How many of each transition it makes at least under these options."""
        wanted = self.expects(options) if callable(self.expects) else self.expects

        if not isinstance(wanted, Mapping):
            return dict.fromkeys(wanted, 1)

        def number(of: int | str) -> int:
            return of if isinstance(of, int) else min(int(options.get(of, 0)) or replicas, replicas)

        return {name: number(of) for name, of in wanted.items()}

    def nodes_taken(self, options: Mapping[str, Any]) -> int:
        """How many nodes it takes away under these options."""
        return int(options[self.takes_nodes] if isinstance(self.takes_nodes, str) else self.takes_nodes)

    def why_not(self, name: str, value: Any) -> str | None:
        """What an option of this scenario wants instead of this value, for an error message; None: it may have it."""
        default, choices = self.options[name], self.choices.get(name)
        if choices is not None:
            return None if value in choices else f"one of {', '.join(choices)}"
        if isinstance(default, bool):
            return None if isinstance(value, bool) else "true or false"
        if isinstance(default, int | float):
            kinds = int if isinstance(default, int) else (int, float)
            low = self.least.get(name, 0)
            fits = isinstance(value, kinds) and not isinstance(value, bool) and low <= value < math.inf
            return None if fits else f"{'an integer' if kinds is int else 'a number'} from {low:g}"
        return None

    def as_dict(self) -> dict[str, Any]:
        """What `hazd list --json` prints; JSON types only."""
        return {
            "name": self.name,
            "summary": self.summary,
            "workers": self.workers,
            "takes_nodes": self.takes_nodes,
            "replicas": self.replicas,
            "needs": list(self.needs),
            "fixes": list(self.fixes),
            "options": dict(self.options),
            "expects": list(self.expected(self.options, self.replicas)),
            "placement": self.placement,
            "sample_only": self.sample_only,
        }


def scenario(summary: str, *, name: str = "", **header: Any) -> Callable[[Disrupt], Scenario]:
    """Turn `async def disrupt(stage)` into a Scenario; the name is the file's unless given."""

    def wrap(disrupt: Disrupt) -> Scenario:
        module = sys.modules.get(disrupt.__module__)
        doc = inspect.getdoc(disrupt) or (module.__doc__ if module else None) or summary
        return Scenario(name=name, summary=summary, disrupt=disrupt, doc=inspect.cleandoc(doc), **header)

    return wrap


def own_folder() -> Path:
    """The scenarios hazd ships: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent
    inside = package / "_scenarios"
    return inside if inside.is_dir() else package.parent / "scenarios"


def load_scenarios(*extra: Path) -> dict[str, Scenario]:
    """Every scenario of hazd's own folder and of `extra` folders, by name; a later folder may replace a name.

    Raises UsageError for a folder that does not exist, a file that does not import, or one without a scenario.
    """
    found: dict[str, Scenario] = {}
    for folder in (own_folder(), *extra):
        if not folder.is_dir():
            raise UsageError(
                f"--scenarios: {folder} is not a folder", "name a folder of Python files, one scenario each"
            )
        for path in sorted(folder.glob("*.py")):
            if not path.name.startswith("_"):
                item = _load_file(path)
                found[item.name] = item
    return found


def _load_file(path: Path) -> Scenario:
    spec = importlib.util.spec_from_file_location(f"hazd_scenario_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{path}: {type(error).__name__}: {error}", "a scenario file must import cleanly") from error
    items = [value for value in vars(module).values() if isinstance(value, Scenario)]
    if len(items) != 1:
        raise UsageError(
            f"{path}: {len(items)} scenarios, expected exactly one",
            "decorate one coroutine with @scenario(...), see scenarios/rollout.py",
        )
    return replace(items[0], name=items[0].name or path.stem.replace("_", "-"))


__all__ = ["Disrupt", "Prepare", "Scenario", "load_scenarios", "own_folder", "scenario"]
