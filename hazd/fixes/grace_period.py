"""Give a pod the time to end: terminationGracePeriodSeconds covers the preStop hook and the app's own shutdown.

Cures: SIGKILL in the middle of a preStop sleep or of requests in flight; the grace period runs from the deletion and
counts the hook too (Kubernetes docs, Pod Lifecycle, "Termination of Pods"). Does not cure: anything by itself; an app
that exits at once on SIGTERM exits just as fast in a long grace period.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hazd.fixes import Fix, FixSettings, why_no_workload, workload_of
from hazd.manifests import edited, pod_spec
from hazd.model import Applied, Manifest, Setup
from hazd.sample_app.manifests import is_sample_app

DEFAULT_GRACE_S = 30
DEFAULT_SHUTDOWN_S = 10
MARGIN_S = 1  # between the app's own timeout and the kubelet's SIGKILL
INPUTS = {"grace_s": "--grace-seconds", "shutdown_s": ""}
"""What `fit_grace` reads."""


def apply(setup: Setup, settings: FixSettings) -> tuple[Setup, Applied]:
    def change(workload: Manifest) -> None:
        fit_grace(pod_spec(workload), settings)

    changed = replace(setup, documents=edited(setup.documents, workload_of(setup), change))
    grace_s = grace_period_s(pod_spec(workload_of(changed)))
    return changed, Applied(f"grace period {grace_s} s", {"grace_s": grace_s})


def grace_period_s(spec: Mapping[str, Any]) -> int:
    """Of a pod's spec, in seconds."""
    return int(spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_S))


def fit_grace(spec: dict[str, Any], settings: FixSettings) -> None:
    """Set exactly `grace_s` where it is given, else raise the grace period to what hooks and shutdown need.

    Every fix that changes a hook or the shutdown ends with this, so that their order does not matter.
    """
    now = grace_period_s(spec)
    wanted = settings.grace_s
    if wanted is None:
        wanted = max(now, max(_needs_s(item, settings) for item in spec["containers"]) + MARGIN_S)
    if wanted != now:
        spec["terminationGracePeriodSeconds"] = wanted


def _needs_s(container: Mapping[str, Any], settings: FixSettings) -> int:
    shutdown_s = DEFAULT_SHUTDOWN_S if settings.shutdown_s is None else settings.shutdown_s
    return (hook_sleep_s(container) or 0) + max(shutdown_s, shutdown_timeout_s(container) or 0)


def shutdown_timeout_s(container: Mapping[str, Any]) -> int | None:
    """How long hazd's sample app waits for requests in flight, in whole seconds; None where nothing says so."""
    env = {item["name"]: item.get("value") for item in container.get("env") or ()}
    text = env.get("HAZD_SHUTDOWN_TIMEOUT_S") or ""
    return int(text) if is_sample_app(container) and text.isdigit() else None


def hook_sleep_s(container: Mapping[str, Any]) -> int | None:
    """How long a container's preStop hook sleeps, in seconds: 0 without a hook, None when it does something else."""
    hook = (container.get("lifecycle") or {}).get("preStop") or {}
    if not hook:
        return 0
    if "sleep" in hook:
        return int(hook["sleep"].get("seconds", 0))
    words = [str(word) for word in (hook.get("exec") or {}).get("command") or ()]
    if len(words) == 3 and words[0].rsplit("/", 1)[-1] in ("sh", "bash", "ash") and words[1] == "-c":
        words = words[2].split()
    is_sleep = len(words) == 2 and words[0].rsplit("/", 1)[-1] == "sleep" and re.fullmatch(r"\d+s?", words[1])
    return int(words[1].rstrip("s")) if is_sleep else None


FIX = Fix(
    name="grace",
    summary="a terminationGracePeriodSeconds that fits the preStop hook and the app's shutdown",
    cures="SIGKILL in the middle of a preStop sleep or of requests in flight",
    not_cures="an app that exits at once on SIGTERM: it exits just as fast in a long grace period",
    order=70,
    apply=apply,
    why_not=why_no_workload,
    inputs=INPUTS,
    switch="--grace-seconds",
)
