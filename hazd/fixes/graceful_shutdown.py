"""Let the app finish: on SIGTERM it stops accepting, responds to what is in flight and has kept connections closed.

Cures: requests cut off in the middle (reset, EOF) and kept connections that break under the next request (RFC 9112
section 9.6). Does not cure: new connections that still arrive after SIGTERM; nobody accepts them, whether the process
has exited or drains, so it needs prestop in front of it. It is a property of the app's code: only hazd's own sample can
be switched by an environment variable.
"""

from __future__ import annotations

from dataclasses import replace

from hazd.fixes import Fix, FixSettings, workload_of
from hazd.fixes.grace_period import DEFAULT_SHUTDOWN_S, INPUTS, fit_grace, shutdown_timeout_s
from hazd.manifests import edited, pod_spec
from hazd.model import Applied, Manifest, Setup
from hazd.sample_app.manifests import is_sample_app, lacks_sample_app, set_env


def apply(setup: Setup, settings: FixSettings) -> tuple[Setup, Applied]:
    workload = workload_of(setup)
    if lacks_sample_app(setup.documents):
        return setup, Applied("shutdown of the app's own")

    def change(copy: Manifest) -> None:
        for item in filter(is_sample_app, pod_spec(copy)["containers"]):
            set_env(item, "HAZD_ON_SIGTERM", "graceful")
            if settings.shutdown_s is not None:
                # Never less than it has: the grace period may have been fitted to that already (order of fixes).
                wanted_s = max(settings.shutdown_s, shutdown_timeout_s(item) or 0)
                set_env(item, "HAZD_SHUTDOWN_TIMEOUT_S", str(wanted_s))
        fit_grace(pod_spec(copy), settings)

    changed = replace(setup, documents=edited(setup.documents, workload, change))
    timeouts = map(shutdown_timeout_s, filter(is_sample_app, pod_spec(workload_of(changed))["containers"]))
    shutdown_s = max((DEFAULT_SHUTDOWN_S if item is None else item for item in timeouts), default=DEFAULT_SHUTDOWN_S)
    return changed, Applied("graceful shutdown", {"shutdown_s": shutdown_s})


def why_not(setup: Setup, _: FixSettings) -> str | None:
    return lacks_sample_app(setup.documents) or None


FIX = Fix(
    name="graceful-shutdown",
    summary="on SIGTERM the app stops accepting, finishes what is in flight and closes kept connections politely",
    cures="requests cut off by SIGTERM (reset, EOF), and kept connections that break under the next request",
    not_cures="new connections that still arrive after SIGTERM (refused): that takes prestop in front of it",
    order=30,
    apply=apply,
    why_not=why_not,
    inputs=INPUTS,
)
