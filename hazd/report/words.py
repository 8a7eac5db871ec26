"""How reports write numbers and names; the same words on the console, in HTML, in Markdown and under charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hazd.analysis.stats import percent

_FIXES = {
    "prestop": "preStop",
    "readiness": "readiness",
    "graceful-shutdown": "graceful shutdown",
    "pdb": "PDB",
    "recycle": "recycling",
    "min-ready-seconds": "minReadySeconds",
    "grace": "longer grace period",
}
_KINDS = {
    "refused": "refused",
    "no_route": "no route",
    "timeout": "timeout",
    "reset": "reset",
    "eof": "closed early",
    "bad_status": "bad status",
    "other": "other",
}


def number(value: int) -> str:
    return f"{value:,}"


def failed_of(failed: int, recorded: int) -> str:
    """ "183 of 2,619 (7 %)"; a share is named only where one was measured."""
    if not recorded:
        return "no request recorded"
    return f"{number(failed)} of {number(recorded)}" + (f" ({percent(failed / recorded)})" if failed else "")


def fix_words(fixes: Sequence[str], applied: Mapping[str, Any] | None = None) -> str:
    """ "preStop 5 s + readiness", as the fixes found or set it in the manifests; the empty string without any fix."""
    found = {name: str(item["words"]) for name, item in (applied or {}).items()}
    return " + ".join(found.get(name) or _FIXES.get(name, name) for name in fixes)


def kind_word(kind: str) -> str:
    return _KINDS.get(kind, kind.replace("_", " "))


def kinds_words(kinds: Mapping[str, int]) -> str:
    """ "35 refused, 12 no route", largest first."""
    ranked = sorted(((name, count) for name, count in kinds.items() if count), key=lambda item: -item[1])
    return ", ".join(f"{number(count)} {kind_word(name)}" for name, count in ranked)


def terminations_words(trial: Mapping[str, Any]) -> str:
    """ "0 of 4 (53 %)": how many terminations that traffic met lost a request, and the 95 % bound; "–" without any."""
    lost = trial["terminations_lost"]
    if not lost["seen_by_traffic"]:
        return "–"
    return f"{lost['lost_requests']} of {lost['seen_by_traffic']} ({percent(lost['upper_bound_95'])})"


def pooled_lines(summary: Mapping[str, Any]) -> list[str]:
    """What repeated trials say together, one sentence each, and why a run that was to be repeated stopped."""
    lines = []
    for pool in summary.get("pooled") or ():
        left = len(pool["trials"]) - pool["counted"]
        without = f", {left} of them INCONCLUSIVE and not counted" if left else ""
        fixes = fix_words(pool["fixes"]) or "no fix"
        lines.append(f"{pool['scenario']} with {fixes}, {len(pool['trials'])} trials{without}: {pool['sentence']}")
    return [*lines, *([f"stopped: {summary['stopped']}"] if summary.get("stopped") else [])]


def settings_words(meta: Mapping[str, Any]) -> str:
    """A trial's settings for a caption: "kind v1.34.4, 3 nodes, iptables; 4 replicas, 200 requests/s; start-up 2 s"."""
    cluster = meta.get("cluster") or {}
    facts = [
        " ".join(dict.fromkeys(str(cluster.get(name, "")) for name in ("kind", "version"))).strip(),
        f"{cluster['nodes']} nodes" if cluster.get("nodes") else "",
        f"kube-proxy {cluster['proxy_mode']}" if cluster.get("proxy_mode") else "",
        f"{meta['replicas']} replicas" if meta.get("replicas") else "",
        f"{meta['rate']:g} requests/s" if meta.get("rate") else "",
    ]
    startup_delay_s = (meta.get("app") or {}).get("startup_delay_s")
    if startup_delay_s is not None:
        facts.append(f"start-up {startup_delay_s:g} s")
    applied = meta.get("applied") or {}
    facts += [applied[name]["words"] for name in ("grace", "prestop") if name in applied]
    return ", ".join(fact for fact in facts if fact)


__all__ = [
    "failed_of",
    "fix_words",
    "kind_word",
    "kinds_words",
    "number",
    "percent",
    "pooled_lines",
    "settings_words",
    "terminations_words",
]
