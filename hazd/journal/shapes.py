"""What run.json, trial.json and a line of events.jsonl must look like, where analysis and report compute with it."""

from __future__ import annotations

from collections.abc import Mapping

from hazd.shape import ANY_NAME, NULL, Either, Name, Number, Shape

COUNT = Number(0, 1e12)
TIME = Number(1e18, 4e18)
"""ns since the Unix epoch, in the years 2001 to 2096."""
MOMENT = Number(0, 4e18)
"""A TIME, 0 where it never came."""
SPAN = Number(-1e15, 1e15)
"""A difference of times in ns: up to 11 days."""
AMOUNT = Number(0, 1e9, whole=False)
STRINGS = {ANY_NAME: str}
_PLANNED = {"name": Name(), "scenario": str, "fixes": [str]}
_CLUSTER = {
    "kind": str,
    "name": str,
    "version": str,
    "nodes": COUNT,
    "proxy_mode": str,
    "note": str,
    "uid": str,
}
RUN: Mapping[str, Shape] = {
    "schema": COUNT,
    "run": str,
    "hazd": str,
    "started_ns": TIME,
    "scenario": str,
    "cluster": _CLUSTER,
    "argv": [str],
    "trials": [_PLANNED],
}
_WORKER = {
    "id": Number(0, 255),
    "pod": str,
    "node": str,
    "offset_ns": SPAN,
    "offset_uncertainty_ns": SPAN,
    "due": COUNT,
    "recorded": COUNT,
    "not_sent": COUNT,
    "not_sent_streams": [COUNT],
    "lost": COUNT,
    "offset_end_ns": Either(NULL, SPAN),
    "offset_end_uncertainty_ns": Either(NULL, SPAN),
    "suspended_ns": SPAN,
    "missed_ns": Either(NULL, [TIME]),
    "fetched": COUNT,
    "sha256_ok": bool,
    "stopped_by": str,
    "error": str,
    "preflight_ok": Either(COUNT, bool),
    "sender": str,
    "lag_ms": {ANY_NAME: Number(-1e12, 1e12, whole=False)},
}
TRIAL: Mapping[str, Shape] = {
    **_PLANNED,
    "schema": COUNT,
    "state": str,
    "error": str,
    "run": str,
    "namespace": str,
    "rate": AMOUNT,
    "warmup_s": AMOUNT,
    "settle_s": AMOUNT,
    "timeout_s": AMOUNT,
    "replicas": COUNT,
    "options": {"force": Either(NULL, bool), "restart": Either(NULL, bool)},
    "app": Either(NULL, {"startup_delay_s": AMOUNT}),
    "criteria": {
        "expects": Either(NULL, [str], {ANY_NAME: COUNT}),
        "max_late_ms": AMOUNT,
        "max_failed": COUNT,
        "even_shares": bool,
    },
    "fix_settings": {},
    "applied": {ANY_NAME: {"words": str, "values": {"prestop_s": AMOUNT, "recycle_after": COUNT, "hook": str}}},
    "patch": Either(NULL, str),
    "expect": [COUNT],
    "streams": [{"name": str, "connection": str, "share": AMOUNT}],
    "cluster": _CLUSTER,
    "started_ns": TIME,
    "ended_ns": TIME,
    "phases": {ANY_NAME: TIME},
    "workers": [_WORKER],
    "observers": [
        {
            "node": str,
            "since_ns": MOMENT,
            "until_ns": MOMENT,
            "flows": COUNT,
            "missing": COUNT,
            "gaps": [[TIME]],
            "error": str,
        }
    ],
    "served": {ANY_NAME: {"served": COUNT, "preflight": COUNT, "final": bool}},
    "workload": {
        "name": str,
        "service": Either(NULL, str),
        "labels": Either(NULL, STRINGS),
        "sample": bool,
        "probed": bool,
    },
    "checks": [{"name": str, "ok": bool, "message": str}],
    "notes": [str],
    "watched": {ANY_NAME: {"events": COUNT, "problem": Either(NULL, str)}},
    "suspended_ns": SPAN,
    "plan": {
        "profile": str,
        "rate": AMOUNT,
        "seed": Number(-(2**63), 2**63),
        "shards": COUNT,
        "max_duration_s": AMOUNT,
        "timeout_s": AMOUNT,
    },
    "decides": Either(NULL, bool),
    "identity": {},
    "files": STRINGS,
}
_CONDITIONS = Either(NULL, [{"type": str, "status": str}], STRINGS)
_STATUSES = Either(
    NULL,
    [
        {
            "name": str,
            "restartCount": COUNT,
            "state": {"terminated": Either(NULL, {"exitCode": Number(-(2**31), 2**31)})},
            "terminated": Either(NULL, {"exitCode": Number(-(2**31), 2**31)}),
        }
    ],
)
_ENDPOINTS = Either(
    NULL,
    [{"conditions": Either(NULL, {}), "targetRef": Either(NULL, str, {"name": str}), "addresses": Either(NULL, [str])}],
)
_DETAIL = {
    "labels": Either(NULL, STRINGS),
    "metadata": {"labels": Either(NULL, STRINGS)},
    "conditions": _CONDITIONS,
    "containerStatuses": _STATUSES,
    "status": {
        "conditions": _CONDITIONS,
        "containerStatuses": _STATUSES,
        "expectedPods": Either(NULL, COUNT),
    },
    "endpoints": _ENDPOINTS,
    "offset_ns": SPAN,
    "uncertainty_ns": SPAN,
    "from_ns": Either(NULL, TIME),
    "to_ns": Either(NULL, TIME),
}
EVENT: Mapping[str, Shape] = {
    "observed_ns": TIME,
    "source": str,
    "ref": {"kind": str, "name": str, "namespace": str},
    "reason": str,
    "stated_ns": Either(NULL, TIME),
    "detail": _DETAIL,
}

__all__ = ["EVENT", "RUN", "TIME", "TRIAL"]
