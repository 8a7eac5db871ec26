"""End connections after a number of requests, so that clients open new ones and reach the pods that came later.

Cures: persistent connections that stay with the old pods after a scale-out: kube-proxy chooses a pod per connection,
not per request. The server says `Connection: close` with its last answer, so nothing breaks (RFC 9112 section 9.6);
`recycle_client` does the same from the client's side, where the server is not hazd's sample. Does not cure: anything
about pods that come or go (prestop, readiness, graceful-shutdown do).
"""

from __future__ import annotations

from dataclasses import replace

from hazd.errors import UsageError
from hazd.fixes import Fix, Settings, workload_of
from hazd.manifests import edited, pod_spec
from hazd.model import Manifest, Setup
from hazd.sample_app.manifests import is_sample_app, lacks_sample_app, set_env


def apply(setup: Setup, settings: Settings) -> Setup:
    given = settings.get("recycle_after")
    after = 1000 if given is None else given
    if isinstance(after, bool) or not isinstance(after, int) or after < 1:
        raise UsageError(f"recycle_after: {after!r} is not right", "a whole number of requests from 1")
    client = after if settings.get("recycle_client") else setup.recycle_after
    if lacks_sample_app(setup.documents):
        return replace(setup, recycle_after=client)

    def change(copy: Manifest) -> None:
        for item in filter(is_sample_app, pod_spec(copy)["containers"]):
            set_env(item, "HAZD_RECYCLE_AFTER", str(after))

    documents = edited(setup.documents, workload_of(setup, settings), change)
    return replace(setup, documents=documents, recycle_after=client)


def applies(setup: Setup) -> str:
    reason = lacks_sample_app(setup.documents)
    return f"{reason}; recycle_client closes the connections from the client's side instead" if reason else ""


FIX = Fix(
    name="recycle",
    summary="the server closes a connection after N requests, so that kept connections spread over new pods",
    cures="pods of a scale-out that get no share of persistent connections",
    not_cures="anything about pods that come too early or go too soon",
    order=60,
    apply=apply,
    applies=applies,
)
