"""Did the processes end by themselves, after SIGTERM, and in their grace period? A kill is no graceful end."""

from __future__ import annotations

from collections.abc import Iterator

from hazd.analysis.case import Case

FIX = "graceful-shutdown"
_KILLED = 137  # 128 + SIGKILL


def problems(case: Case) -> Iterator[str]:
    ended = [pod for pod in case.story.pods.values() if (pod.deleted_ns or 0) >= case.origin_ns]
    abrupt = [pod.name for pod in ended if pod.on_sigterm not in ("", "graceful")]
    if abrupt:
        yield f"{len(abrupt)} pod(s) did not end gracefully at SIGTERM, {abrupt[0]} among them"
    forced = (case.meta.get("options") or {}).get("force")
    killed = [pod.name for pod in ended if pod.exit_code == _KILLED and case.lost_span(pod) is None]
    if killed and not forced:
        yield f"{len(killed)} pod(s) were killed when the grace period was over, {killed[0]} among them"
