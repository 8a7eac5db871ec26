"""Let a pod serve on for a few seconds after its deletion: a preStop sleep delays SIGTERM.

Cures: traffic that still arrives at a pod after its process or its address is gone (refused, reset, no route,
timeout), because every node's rules forget an endpoint only some time after the pod was deleted. Does not cure: new
pods that get traffic before they listen (readiness does), and requests that take longer than what is left after the
sleep (graceful-shutdown does). The native sleep is KEP-3960: on by default from Kubernetes 1.30; before that, or where
the API server lacks it, an exec of `sleep`, which the image must then contain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hazd.fixes import Fix, FixSettings, why_no_workload, workload_of
from hazd.fixes.grace_period import INPUTS, fit_grace, grace_period_s, hook_sleep_s
from hazd.manifests import app_containers, edited, pod_spec
from hazd.model import Applied, Manifest, Setup


def apply(setup: Setup, settings: FixSettings) -> tuple[Setup, Applied]:
    sleep_s = settings.prestop_s
    workload = workload_of(setup)
    names = [item["name"] for item in app_containers(workload, setup.documents) if not _other_hook(item)]
    if not names:
        return setup, Applied("preStop of the manifest's own")

    def change(copy: Manifest) -> None:
        spec = pod_spec(copy)
        mine = [item for item in spec["containers"] if item["name"] in names]
        for item in mine:
            if (hook_sleep_s(item) or 0) < sleep_s:
                _set_hook(item, {"sleep": {"seconds": sleep_s}})
        fit_grace(spec, settings)
        # The API refuses a native sleep longer than the grace period (validateSleepAction); exec may be cut off.
        longest_s = grace_period_s(spec) if setup.native_sleep else 0
        for item in mine:
            length_s = hook_sleep_s(item) or 0
            if "sleep" in item["lifecycle"]["preStop"] and length_s > longest_s:
                _set_hook(item, {"exec": {"command": ["sleep", str(length_s)]}})

    changed = replace(setup, documents=edited(setup.documents, workload, change))
    found = [item for item in pod_spec(workload_of(changed))["containers"] if item["name"] in names]
    shortest = min(found, key=lambda item: hook_sleep_s(item) or 0)
    found_s = hook_sleep_s(shortest)
    hook = "sleep" if "sleep" in shortest["lifecycle"]["preStop"] else "exec"
    return changed, Applied(f"preStop {found_s} s", {"prestop_s": found_s, "hook": hook})


def why_not(setup: Setup, settings: FixSettings) -> str | None:
    reason = why_no_workload(setup, settings)
    if reason:
        return reason
    chosen = app_containers(workload_of(setup), setup.documents)
    other = [item for item in chosen if _other_hook(item)]
    if other:
        return f"container {other[0]['name']} has a preStop hook of its own; put a sleep in front of what it does"
    return None


def _set_hook(container: dict[str, Any], hook: dict[str, Any]) -> None:
    container["lifecycle"] = {**(container.get("lifecycle") or {}), "preStop": hook}


def _other_hook(container: Mapping[str, Any]) -> bool:
    """A hook that does something else than sleep is the user's; replacing it would undo what they rely on."""
    return hook_sleep_s(container) is None


FIX = Fix(
    name="prestop",
    summary="a preStop sleep, so that a deleted pod serves on until every node has forgotten it",
    cures="traffic to a pod whose process or address is already gone (refused, reset, no route, timeout)",
    not_cures="new pods that get traffic before they listen, and requests cut off by SIGTERM after the sleep",
    order=10,
    apply=apply,
    why_not=why_not,
    inputs={"prestop_s": "--prestop-seconds", **INPUTS},
)
