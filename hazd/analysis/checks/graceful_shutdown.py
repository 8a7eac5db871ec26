"""Did the processes end by themselves, after SIGTERM, and in their grace period? A kill is no graceful end."""

from __future__ import annotations

from collections.abc import Iterator

from hazd.analysis.case import Case
from hazd.analysis.story import KILLED

FIX = "graceful-shutdown"


def problems(case: Case) -> Iterator[str]:
    ended = [pod for pod in case.story.pods.values() if (pod.deleted_ns or 0) >= case.origin_ns]
    abrupt = [pod.name for pod in ended if pod.on_sigterm not in ("", "graceful")]
    if abrupt:
        yield f"{len(abrupt)} pod(s) did not end gracefully at SIGTERM, {abrupt[0]} among them"
    forced = (case.meta.get("options") or {}).get("force")
    killed = [pod.name for pod in ended if pod.exit_code == KILLED and case.lost_span(pod) is None]
    if killed and not forced:
        yield f"{len(killed)} pod(s) were killed when the grace period was over, {killed[0]} among them"
