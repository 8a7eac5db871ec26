"""Let the app finish: on SIGTERM it stops accepting, answers what is in flight and tells kept connections to close.

Cures: requests cut off in the middle (reset, EOF) and kept connections that break under the next request (RFC 9112
section 9.6). Does not cure: new connections that still arrive after SIGTERM; nobody accepts them, whether the process
is gone or draining, so it needs prestop in front of it. It is a property of the app's code: only hazd's own sample can
be switched by an environment variable.
"""

from __future__ import annotations

from dataclasses import replace

from hazd.fixes import Fix, Settings, seconds, workload_of
from hazd.fixes.grace_period import fit_grace, shutdown_timeout_s
from hazd.manifests import edited, pod_spec
from hazd.model import Manifest, Setup
from hazd.sample_app.manifests import is_sample_app, lacks_sample_app, set_env


def apply(setup: Setup, settings: Settings) -> Setup:
    workload = workload_of(setup, settings)
    if lacks_sample_app(setup.documents):
        return setup

    def change(copy: Manifest) -> None:
        for item in filter(is_sample_app, pod_spec(copy)["containers"]):
            set_env(item, "HAZD_ON_SIGTERM", "graceful")
            if settings.get("shutdown_s") is not None:
                # Never less than it has: the grace period may have been fitted to that already (order of fixes).
                wanted_s = max(seconds(settings, "shutdown_s", 10), shutdown_timeout_s(item) or 0)
                set_env(item, "HAZD_SHUTDOWN_TIMEOUT_S", str(wanted_s))
        fit_grace(pod_spec(copy), settings)

    return replace(setup, documents=edited(setup.documents, workload, change))


def applies(setup: Setup) -> str:
    return lacks_sample_app(setup.documents)


FIX = Fix(
    name="graceful-shutdown",
    summary="on SIGTERM the app stops accepting, finishes what is in flight and closes kept connections politely",
    cures="requests cut off by SIGTERM (reset, EOF), and kept connections that break under the next request",
    not_cures="new connections that still arrive after SIGTERM (refused): that takes prestop in front of it",
    order=30,
    apply=apply,
    applies=applies,
)
