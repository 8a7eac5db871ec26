"""End connections after a number of requests, so that clients open new ones and reach the pods that came later.

Cures: persistent connections that stay with the old pods after a scale-out: kube-proxy chooses a pod per connection,
not per request. The server says `Connection: close` with its last response, so nothing breaks (RFC 9112 section 9.6);
--recycle-connections-after does the same from the client's side, where the server is not hazd's sample. Does not cure:
anything about pods that start or terminate (prestop, readiness, graceful-shutdown do).
"""

from __future__ import annotations

from dataclasses import replace

from hazd.fixes import Fix, FixSettings, workload_of
from hazd.manifests import edited, pod_spec
from hazd.model import Applied, Manifest, Setup
from hazd.sample_app.manifests import is_sample_app, lacks_sample_app, set_env


def apply(setup: Setup, settings: FixSettings) -> tuple[Setup, Applied]:
    if lacks_sample_app(setup.documents):
        return setup, Applied("no recycling")

    def change(copy: Manifest) -> None:
        for item in filter(is_sample_app, pod_spec(copy)["containers"]):
            set_env(item, "HAZD_RECYCLE_AFTER", str(settings.recycle_after))

    changed = replace(setup, documents=edited(setup.documents, workload_of(setup), change))
    words = f"recycling after {settings.recycle_after} requests"
    return changed, Applied(words, {"recycle_after": settings.recycle_after})


def why_not(setup: Setup, _: FixSettings) -> str | None:
    reason = lacks_sample_app(setup.documents)
    return f"{reason}; --recycle-connections-after closes them from the client's side" if reason else None


FIX = Fix(
    name="recycle",
    summary="the server closes a connection after N requests, so that kept connections spread over new pods",
    cures="pods of a scale-out that get no share of persistent connections",
    not_cures="new pods that are not listening yet, and terminating pods",
    order=60,
    apply=apply,
    why_not=why_not,
    inputs={"recycle_after": "--recycle-after"},
)
