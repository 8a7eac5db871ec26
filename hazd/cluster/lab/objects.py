"""Small questions about Kubernetes-shaped dicts that many control loops ask: labels, owners, conditions, times.

Pure. Objects in the store are shared and never changed in place; whatever is returned here is either a plain value or a
new dict.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
import random
from collections.abc import Iterable, Mapping
from typing import Any

from hazd.manifests.conditions import condition, is_deleting, is_ready
from hazd.manifests.quantities import parse_quantity
from hazd.model import Manifest

SAFE_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""Alphabet of generated names (k8s.io/apimachinery/pkg/util/rand: no vowels, no look-alikes)."""


def stamp(ns: int) -> str:
    """RFC 3339 in whole seconds, as metav1.Time has it."""
    return datetime.datetime.fromtimestamp(ns // 1_000_000_000, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_stamp(ns: int) -> str:
    """RFC 3339 with microseconds, as metav1.MicroTime has it."""
    return datetime.datetime.fromtimestamp(ns / 1e9, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_of(text: str | None) -> float:
    """Unix seconds of an RFC 3339 time; 0 for none."""
    return datetime.datetime.fromisoformat(text).timestamp() if text else 0.0


def suffix(rng: random.Random, length: int = 5) -> str:
    return "".join(rng.choices(SAFE_LETTERS, k=length))


def template_hash(template: Mapping[str, Any]) -> str:
    """pod-template-hash: the same template gives the same name, whatever the order of its keys."""
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    number = int.from_bytes(digest[:6], "big")
    letters = []
    for _ in range(10):
        number, index = divmod(number, len(SAFE_LETTERS))
        letters.append(SAFE_LETTERS[index])
    return "".join(letters)


def parse_selector(text: str) -> dict[str, str]:
    """ "a=b,c=d" (also "==") to a dict. Raises ValueError for anything else."""
    wanted = {}
    for term in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = term.partition("==" if "==" in term else "=")
        if not equals or "!" in key:
            raise ValueError(f"selector term {term!r}: only a=b is supported")
        wanted[key.strip()] = value.strip()
    return wanted


def labels_of(obj: Mapping[str, Any]) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def has_labels(obj: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    have = labels_of(obj)
    return all(have.get(key) == value for key, value in wanted.items())


def selects(selector: Mapping[str, Any] | None, obj: Mapping[str, Any]) -> bool:
    """A metav1.LabelSelector: matchLabels and matchExpressions. None selects nothing, {} everything."""
    if selector is None:
        return False
    have = labels_of(obj)
    if any(have.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for term in selector.get("matchExpressions") or ():
        key, values = term["key"], term.get("values") or ()
        fits = {
            "In": have.get(key) in values and key in have,
            "NotIn": have.get(key) not in values,
            "Exists": key in have,
            "DoesNotExist": key not in have,
        }[term["operator"]]
        if not fits:
            return False
    return True


def owner_reference(owner: Mapping[str, Any]) -> Manifest:
    meta = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(obj: Mapping[str, Any]) -> Manifest | None:
    """The owner reference with controller=true, or None."""
    return next((ref for ref in obj["metadata"].get("ownerReferences") or () if ref.get("controller")), None)


def owner_keys(obj: Manifest, kind: str) -> list[tuple[str, ...]]:
    """The (namespace, name) to look at again when `obj` changed: of itself, or of its controller where it is a pod."""
    meta = obj["metadata"]
    if obj["kind"] == kind:
        return [(meta["namespace"], meta["name"])]
    owner = controller_of(obj) if obj["kind"] == "Pod" else None
    return [(meta["namespace"], owner["name"])] if owner and owner["kind"] == kind else []


def owned_by(obj: Mapping[str, Any], uid: str) -> bool:
    owner = controller_of(obj)
    return owner is not None and owner["uid"] == uid


def with_condition(
    conditions: Iterable[Manifest], kind: str, status: str, reason: str, message: str, now: str, **extra: Any
) -> list[Manifest]:
    """A copy with one condition set; lastTransitionTime moves only when the status does."""
    entry: Manifest = {"type": kind, "status": status, "lastTransitionTime": now}
    if reason:
        entry["reason"] = reason
    if message:
        entry["message"] = message
    entry.update(extra)
    result, found = [], False
    for each in conditions:
        if each["type"] != kind:
            result.append(each)
            continue
        found = True
        if each["status"] == status:
            entry["lastTransitionTime"] = each["lastTransitionTime"]
        result.append(entry)
    return result if found else [*result, entry]


def ready_since(pod: Mapping[str, Any]) -> float:
    """Unix seconds since which the pod is ready; 0 when it is not."""
    ready = condition(pod, "Ready")
    return seconds_of(ready["lastTransitionTime"]) if ready and is_ready(pod) else 0.0


def phase_of(pod: Mapping[str, Any]) -> str:
    return str((pod.get("status") or {}).get("phase", "Pending"))


def is_terminal(pod: Mapping[str, Any]) -> bool:
    return phase_of(pod) in ("Succeeded", "Failed")


def is_active(pod: Mapping[str, Any]) -> bool:
    """What counts as a replica (controller.IsPodActive): neither finished nor being deleted."""
    return not is_terminal(pod) and not is_deleting(pod)


@functools.lru_cache(maxsize=1024)
def number(quantity: str | int | float) -> float:
    """A resource quantity in cores or bytes, remembered: scheduling asks for the same few thousands of times."""
    return float(parse_quantity(quantity))


def cpu_request(pod: Mapping[str, Any]) -> float:
    """Sum of the containers' CPU requests in cores (a limit without a request counts as one)."""
    total = 0.0
    for container in pod["spec"]["containers"]:
        resources = container.get("resources") or {}
        value = (resources.get("requests") or {}).get("cpu", (resources.get("limits") or {}).get("cpu", 0))
        total += number(value)
    return total


def tolerates(tolerations: Iterable[Mapping[str, Any]], taint: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first toleration that matches the taint (v1.Toleration.ToleratesTaint), or None."""
    for each in tolerations:
        if each.get("effect") and each["effect"] != taint["effect"]:
            continue
        if each.get("key") and each["key"] != taint["key"]:
            continue
        if each.get("operator", "Equal") == "Exists":
            return each
        if each.get("key") and each.get("value", "") == taint.get("value", ""):
            return each
    return None
