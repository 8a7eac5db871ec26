"""Let a pod serve on for a few seconds after its deletion: a preStop sleep delays SIGTERM.

Cures: traffic that still arrives at a pod after its process or its address is gone (refused, reset, no route,
time-out), because every node's rules forget an endpoint only some time after the pod was deleted. Does not cure: new
pods that get traffic before they listen (readiness does), and requests that take longer than what is left after the
sleep (graceful-shutdown does). The native sleep is KEP-3960: on by default from Kubernetes 1.30; before that, or where
`native_sleep` is False, an exec of `sleep`, which the image must then contain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hazd.fixes import Fix, Settings, needs_a_workload, seconds, workload_of
from hazd.fixes.grace_period import DEFAULT_GRACE_S, fit_grace, hook_sleep_s
from hazd.manifests import app_containers, choose_workload, edited, pod_spec
from hazd.model import Manifest, Setup


def apply(setup: Setup, settings: Settings) -> Setup:
    sleep_s = seconds(settings, "prestop_s", 5, least=1)
    workload = workload_of(setup, settings)
    chosen = app_containers(workload, setup.documents, tuple(settings.get("containers") or ()))
    names = [item["name"] for item in chosen if not _other_hook(item)]
    if not names:
        return setup

    def change(copy: Manifest) -> None:
        spec = pod_spec(copy)
        mine = [item for item in spec["containers"] if item["name"] in names]
        for item in mine:
            if (hook_sleep_s(item) or 0) < sleep_s:
                _set_hook(item, {"sleep": {"seconds": sleep_s}})
        fit_grace(spec, settings)
        # The API refuses a native sleep longer than the grace period (validateSleepAction); exec may be cut off.
        longest_s = (
            spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_S) if settings.get("native_sleep", True) else 0
        )
        for item in mine:
            length_s = hook_sleep_s(item) or 0
            if "sleep" in item["lifecycle"]["preStop"] and length_s > longest_s:
                _set_hook(item, {"exec": {"command": ["sleep", str(length_s)]}})

    return replace(setup, documents=edited(setup.documents, workload, change))


def applies(setup: Setup) -> str:
    reason = needs_a_workload(setup)
    if reason:
        return reason
    chosen = app_containers(choose_workload(setup.documents, setup.workload), setup.documents)
    other = [item for item in chosen if _other_hook(item)]
    if other:
        return f"container {other[0]['name']} has a preStop hook of its own; put a sleep in front of what it does"
    return ""


def _set_hook(container: dict[str, Any], hook: dict[str, Any]) -> None:
    container["lifecycle"] = {**(container.get("lifecycle") or {}), "preStop": hook}


def _other_hook(container: Mapping[str, Any]) -> bool:
    """A hook that does something else than sleep is the user's; replacing it would undo what they rely on."""
    return hook_sleep_s(container) is None


FIX = Fix(
    name="prestop",
    summary="a preStop sleep, so that a deleted pod serves on until every node has forgotten it",
    cures="traffic to a pod whose process or address is already gone (refused, reset, no route, time-out)",
    not_cures="new pods that get traffic before they listen, and requests cut off by SIGTERM after the sleep",
    order=10,
    apply=apply,
    applies=applies,
)
