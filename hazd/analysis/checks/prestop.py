"""Did every deleted pod wait out its preStop sleep? A hook that fails is skipped in silence but for an Event.

The kubelet runs preStop before SIGTERM, within the grace period (KEP-3960 for the native sleep); so the time from the
deletion to SIGTERM shows whether it ran.
"""

from __future__ import annotations

from collections.abc import Iterator

from hazd.analysis.case import Case, S

FIX = "prestop"
_SLACK_S = 0.7
"""The deletion is dated by the watch, which may be late on a busy machine."""


def problems(case: Case) -> Iterator[str]:
    for _, text in case.story.warnings:
        if "FailedPreStopHook" in text:
            yield text
            return
    wanted_s = case.applied(FIX).get("prestop_s")
    if wanted_s is None or (case.meta.get("options") or {}).get("force"):
        return  # a forced deletion has no grace period and thus no hook: that is what it is there to show
    short: list[tuple[float, str]] = []
    for pod in case.story.pods.values():
        if pod.deleted_ns is None or pod.sigterm_ns is None or pod.deleted_ns < case.origin_ns:
            continue
        waited_s = (pod.sigterm_ns - pod.deleted_ns) / S
        if waited_s < float(wanted_s) - _SLACK_S:
            short.append((waited_s, pod.name))
    if short:
        waited_s, name = min(short)
        yield (
            f"{len(short)} pod(s) got SIGTERM before the preStop of {wanted_s:g} s was over, "
            f"{name} {max(waited_s, 0):.1f} s after its deletion"
        )
