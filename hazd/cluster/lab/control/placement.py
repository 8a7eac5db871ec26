"""PURE: may this pod run on that node, and how good would it be there.

Filters and scores of kube-scheduler's default profile, as far as manifests under test use them: cordon, taints,
nodeSelector, node affinity (required), CPU and memory requests, pod (anti-)affinity, topology spread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hazd.cluster.lab.objects import labels_of, number, selects, tolerates
from hazd.manifests.conditions import is_deleting
from hazd.model import Manifest

HOSTNAME = "kubernetes.io/hostname"
UNSCHEDULABLE = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
DEFAULT_SPREAD = {"maxSkew": 3, "topologyKey": HOSTNAME, "whenUnsatisfiable": "ScheduleAnyway"}
"""The cluster-level default constraint for pods that bring none (kubernetes.io, Pod Topology Spread Constraints)."""


def obstacle(pod: Manifest, node: Manifest, nodes: Sequence[Manifest], placed: Sequence[Manifest]) -> str:
    """Why `pod` must not go to `node`, in the scheduler's words; "" when it may."""
    spec = pod["spec"]
    tolerations = spec.get("tolerations") or ()
    if node["spec"].get("unschedulable") and tolerates(tolerations, UNSCHEDULABLE) is None:
        return "node(s) were unschedulable"
    for taint in node["spec"].get("taints") or ():
        if taint["effect"] in ("NoSchedule", "NoExecute") and tolerates(tolerations, taint) is None:
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    if not _wants_node(spec, node):
        return "node(s) didn't match Pod's node affinity/selector"
    for name, (used, room) in _resources(pod, node, placed).items():
        if used > room:
            return f"Insufficient {name}"
    affinity = spec.get("affinity") or {}
    for term in _required(affinity, "podAntiAffinity"):
        if _matches_in_domain(term, pod, node, nodes, placed):
            return "node(s) didn't match pod anti-affinity rules"
    for other in placed:  # anti-affinity holds both ways
        for term in _required(other["spec"].get("affinity") or {}, "podAntiAffinity"):
            home = _node_of(other, nodes)
            if home and _same_domain(term["topologyKey"], home, node) and _term_selects(term, pod, other):
                return "node(s) didn't satisfy existing pods anti-affinity rules"
    for term in _required(affinity, "podAffinity"):
        anywhere = any(_term_selects(term, each, pod) for each in placed)
        itself = not anywhere and _term_selects(term, pod, pod)
        if not itself and not _matches_in_domain(term, pod, node, nodes, placed):
            return "node(s) didn't match pod affinity rules"
    for constraint in spec.get("topologySpreadConstraints") or ():
        if constraint.get("whenUnsatisfiable") == "DoNotSchedule":
            counts = _domain_counts(constraint, pod, nodes, placed)
            here = labels_of(node).get(constraint["topologyKey"])
            if here is None or counts[here] + 1 - min(counts.values()) > constraint["maxSkew"]:
                return "node(s) didn't match pod topology spread constraints"
    return ""


def scores(
    pod: Manifest, fitting: Sequence[Manifest], nodes: Sequence[Manifest], placed: Sequence[Manifest]
) -> dict[str, float]:
    """Sum of the weighted scores by node name, each plugin normalised to 0..100."""
    total: Counter[str] = Counter()
    for weight, raw in (
        (1, {_name(node): _least_allocated(pod, node, placed) for node in fitting}),
        (2, _normalised({_name(node): _affinity_score(pod, node, nodes, placed) for node in fitting})),
        (2, _spread_scores(pod, fitting, nodes, placed)),
        (3, _normalised({_name(node): -_soft_taints(pod, node) for node in fitting})),
    ):
        for name, score in raw.items():
            total[name] += weight * score  # type: ignore[assignment]
    return dict(total)


def _name(node: Manifest) -> str:
    return str(node["metadata"]["name"])


def _normalised(raw: dict[str, float]) -> dict[str, float]:
    low, high = min(raw.values()), max(raw.values())
    return {name: 100.0 * (value - low) / (high - low) if high > low else 0.0 for name, value in raw.items()}


def _wants_node(spec: Mapping[str, Any], node: Manifest) -> bool:
    have = labels_of(node)
    if any(have.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    terms = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms")
    if terms is None:
        return True
    return any(
        selects({"matchExpressions": term.get("matchExpressions") or []}, node)
        and all(_has_name(field, node) for field in term.get("matchFields") or ())
        for term in terms
    )


def _has_name(field: Mapping[str, Any], node: Manifest) -> bool:
    """A matchFields requirement: the API knows the key metadata.name only, with In or NotIn."""
    return (_name(node) in field["values"]) is (field["operator"] == "In")


def _requests(pod: Manifest, name: str) -> float:
    return sum(
        number(((each.get("resources") or {}).get("requests") or {}).get(name, 0)) for each in pod["spec"]["containers"]
    )


def _resources(pod: Manifest, node: Manifest, placed: Sequence[Manifest]) -> dict[str, tuple[float, float]]:
    here = [each for each in placed if each["spec"]["nodeName"] == _name(node)]
    room = node["status"]["allocatable"]
    result = {
        name: (_requests(pod, name) + sum(_requests(each, name) for each in here), number(room[name]))
        for name in ("cpu", "memory")
    }
    result["pods"] = (len(here) + 1, number(room["pods"]))
    return result


def _least_allocated(pod: Manifest, node: Manifest, placed: Sequence[Manifest]) -> float:
    shares = _resources(pod, node, placed)
    return sum(100.0 * (1 - shares[name][0] / shares[name][1]) for name in ("cpu", "memory")) / 2


def _soft_taints(pod: Manifest, node: Manifest) -> float:
    tolerations = pod["spec"].get("tolerations") or ()
    soft = [each for each in node["spec"].get("taints") or () if each["effect"] == "PreferNoSchedule"]
    return float(sum(tolerates(tolerations, each) is None for each in soft))


def _required(affinity: Mapping[str, Any], kind: str) -> list[Manifest]:
    return (affinity.get(kind) or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or []


def _preferred(affinity: Mapping[str, Any]) -> Iterator[tuple[float, Manifest]]:
    for kind, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
        for each in (affinity.get(kind) or {}).get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            yield sign * each["weight"], each["podAffinityTerm"]


def _node_of(pod: Manifest, nodes: Sequence[Manifest]) -> Manifest | None:
    return next((node for node in nodes if _name(node) == pod["spec"]["nodeName"]), None)


def _same_domain(key: str, one: Manifest, two: Manifest) -> bool:
    value = labels_of(one).get(key)
    return value is not None and value == labels_of(two).get(key)


def _term_selects(term: Manifest, candidate: Manifest, owner: Manifest) -> bool:
    """Whether `owner`'s affinity term means `candidate`: its labels, and its namespace (the owner's by default)."""
    spaces = term.get("namespaces") or [owner["metadata"]["namespace"]]
    return candidate["metadata"]["namespace"] in spaces and selects(term.get("labelSelector"), candidate)


def _matches_in_domain(
    term: Manifest, pod: Manifest, node: Manifest, nodes: Sequence[Manifest], placed: Sequence[Manifest]
) -> bool:
    for other in placed:
        home = _node_of(other, nodes)
        if home and _same_domain(term["topologyKey"], home, node) and _term_selects(term, other, pod):
            return True
    return False


def _affinity_score(pod: Manifest, node: Manifest, nodes: Sequence[Manifest], placed: Sequence[Manifest]) -> float:
    total = 0.0
    for weight, term in _preferred(pod["spec"].get("affinity") or {}):
        for other in placed:
            home = _node_of(other, nodes)
            if home and _same_domain(term["topologyKey"], home, node) and _term_selects(term, other, pod):
                total += weight
    return total


def _domain_counts(
    constraint: Mapping[str, Any], pod: Manifest, nodes: Sequence[Manifest], placed: Sequence[Manifest]
) -> Counter[str]:
    """Matching pods by the value of the topology key, with every eligible domain in it."""
    key = constraint["topologyKey"]
    counts: Counter[str] = Counter()
    homes = {_name(node): labels_of(node)[key] for node in nodes if key in labels_of(node)}
    for node in nodes:
        if _name(node) in homes and _wants_node(pod["spec"], node):
            counts[homes[_name(node)]] += 0
    for other in placed:
        home = homes.get(other["spec"]["nodeName"])
        same = other["metadata"]["namespace"] == pod["metadata"]["namespace"]
        if (
            home is not None
            and home in counts
            and same
            and not is_deleting(other)
            and selects(constraint.get("labelSelector"), other)
        ):
            counts[home] += 1
    return counts


def _spread_scores(
    pod: Manifest, fitting: Sequence[Manifest], nodes: Sequence[Manifest], placed: Sequence[Manifest]
) -> dict[str, float]:
    own = pod["spec"].get("topologySpreadConstraints")
    labels = labels_of(pod)
    defaults = [{**DEFAULT_SPREAD, "labelSelector": {"matchLabels": labels}}] if labels else []
    soft = [each for each in (defaults if own is None else own) if each["whenUnsatisfiable"] == "ScheduleAnyway"]
    raw = {_name(node): 0.0 for node in fitting}
    for constraint in soft:
        counts = _domain_counts(constraint, pod, nodes, placed)
        for node in fitting:
            raw[_name(node)] -= counts[labels_of(node).get(str(constraint["topologyKey"]), "")]
    return _normalised(raw)
