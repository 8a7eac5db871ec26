"""What is wrong with one manifest, as far as hazd relies on it: field, value, and what would be right.

Pure. It is no schema check, the API server does that; it finds what would otherwise surface late, in the middle of a
trial, or as something else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from hazd.errors import UsageError
from hazd.manifests.quantities import rolling_limits
from hazd.manifests.shapes import ANYTHING, BY_KIND
from hazd.model import Manifest
from hazd.shape import faults

WORKLOAD_KINDS = ("Deployment", "StatefulSet")
_DNS_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
Problem = tuple[str, object, str]
"""Field, its value, and what would be right."""


def check_document(doc: object) -> Iterator[Problem]:
    """What is wrong with one document, as far as hazd relies on it."""
    found = list(_check_document(doc))
    yield from found
    if isinstance(doc, dict):
        named = {field for field, _, _ in found}
        shape = BY_KIND.get(str(doc.get("kind")), ANYTHING)
        yield from (fault for fault in faults(doc, shape) if fault[0] not in named)


def _check_document(doc: object) -> Iterator[Problem]:
    if not isinstance(doc, dict):
        yield "document", doc, "a mapping with apiVersion, kind and metadata"
        return
    yield from _not_json(doc, "")
    for field, example in (("apiVersion", "apps/v1"), ("kind", "Deployment")):
        if not isinstance(doc.get(field), str):
            yield field, doc.get(field), f"a string such as {example}"
    meta = doc.get("metadata")
    if not isinstance(meta, dict):
        yield "metadata", meta, "a mapping with a name"
        return
    name = meta.get("name")
    if not isinstance(name, str) or not _DNS_NAME.fullmatch(name) or len(name) > 253:
        yield "metadata.name", name, "a name of lower-case letters, digits, '-' and '.' (RFC 1123)"
    yield from _texts(meta.get("labels"), "metadata.labels")
    spec = doc.get("spec")
    if doc.get("kind") in (*WORKLOAD_KINDS, "Service"):
        if not isinstance(spec, dict):
            yield "spec", spec, "a mapping"
        elif doc["kind"] == "Service":
            yield from _check_service(spec)
        else:
            if doc.get("apiVersion") != "apps/v1":
                yield "apiVersion", doc.get("apiVersion"), f"apps/v1, as every {doc['kind']} today"
            yield from _check_workload(doc, spec)


def _check_service(spec: Mapping[str, Any]) -> Iterator[Problem]:
    yield from _texts(spec.get("selector"), "spec.selector")
    ports = spec.get("ports")
    if spec.get("type") != "ExternalName" and not (isinstance(ports, list) and ports):
        yield "spec.ports", ports, "a list with at least one port"
    for index, port in enumerate(ports if isinstance(ports, list) else ()):
        number = port.get("port") if isinstance(port, dict) else None
        if not _is_port(number):
            yield f"spec.ports[{index}].port", number, "an integer from 1 to 65535"


def _check_workload(doc: Manifest, spec: Mapping[str, Any]) -> Iterator[Problem]:
    replicas = spec.get("replicas", 1)
    if not _is_whole(replicas):
        yield "spec.replicas", replicas, "an integer from 0"
    elif doc["kind"] == "Deployment":
        try:
            rolling_limits(doc)
        except (UsageError, AttributeError) as error:
            yield "spec.strategy", spec.get("strategy"), f"a strategy ({error})"
    selector = spec.get("selector")
    wanted = selector.get("matchLabels") if isinstance(selector, dict) else None
    if not (isinstance(wanted, dict) and wanted):
        yield "spec.selector.matchLabels", wanted, "a mapping of at least one label"
    yield from _texts(wanted, "spec.selector.matchLabels")
    template = spec.get("template")
    pod = template.get("spec") if isinstance(template, dict) else None
    if not isinstance(template, dict) or not isinstance(pod, dict):
        yield "spec.template.spec", pod, "a pod's spec"
        return
    meta = template.get("metadata", {})
    if not isinstance(meta, dict):
        yield "spec.template.metadata", meta, "a mapping with labels"
        return
    labels = meta.get("labels")
    yield from _texts(labels, "spec.template.metadata.labels")
    if isinstance(wanted, dict) and not selects(wanted, labels):
        yield "spec.template.metadata.labels", labels, f"what spec.selector.matchLabels asks for: {wanted}"
    for place, where, names in (
        (spec, "spec", ("minReadySeconds", "progressDeadlineSeconds")),
        (pod, "spec.template.spec", ("terminationGracePeriodSeconds",)),
    ):
        for name in names:
            if name in place and not _is_whole(place[name]):
                yield f"{where}.{name}", place[name], "an integer number of seconds from 0"
    if not isinstance(pod.get("affinity", {}), dict):
        yield "spec.template.spec.affinity", pod["affinity"], "a mapping"
    containers = pod.get("containers")
    if not (isinstance(containers, list) and containers):
        yield "spec.template.spec.containers", containers, "a list with at least one container"
    for index, container in enumerate(containers if isinstance(containers, list) else ()):
        yield from _check_container(container, f"spec.template.spec.containers[{index}]")


def _check_container(container: object, where: str) -> Iterator[Problem]:
    if not isinstance(container, dict):
        yield where, container, "a mapping with name and image"
        return
    for name in ("name", "image"):
        if not (isinstance(container.get(name), str) and container[name]):
            yield f"{where}.{name}", container.get(name), "a string"
    for name in ("lifecycle", "readinessProbe"):
        if not isinstance(container.get(name, {}), dict):
            yield f"{where}.{name}", container[name], "a mapping"
    for name in ("env", "ports"):
        if not isinstance(container.get(name, []), list):
            yield f"{where}.{name}", container[name], "a list"
            return
    for index, item in enumerate(container.get("env", ())):
        variable, value = (item.get("name"), item.get("value", "")) if isinstance(item, dict) else (None, item)
        if not isinstance(variable, str):
            yield f"{where}.env[{index}].name", variable, "a string"
        if not isinstance(value, str):
            yield f"{where}.env[{index}].value", value, f'a string; put it in quotes: "{value}"'
    for index, item in enumerate(container.get("ports", ())):
        port = item.get("containerPort") if isinstance(item, dict) else item
        if not _is_port(port):
            yield f"{where}.ports[{index}].containerPort", port, "an integer from 1 to 65535"


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_port(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535


def _texts(value: object, where: str) -> Iterator[Problem]:
    if value is not None and not isinstance(value, dict):
        yield where, value, "a mapping of strings"
    for name, text in value.items() if isinstance(value, dict) else ():
        if not isinstance(text, str):
            yield f"{where}.{name}", text, f'a string; put it in quotes: "{text}"'


def _not_json(value: object, where: str) -> Iterator[Problem]:
    """YAML knows dates, sets and keys that are no strings; the API's JSON does not."""
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                yield where or "document", name, f'a string as a key; put it in quotes: "{name}"'
            yield from _not_json(item, f"{where}.{name}" if where else str(name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _not_json(item, f"{where}[{index}]")
    elif not (value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))):
        yield where, value, f'a value that JSON has; put it in quotes: "{value}"'


def selects(selector: object, labels: object) -> bool:
    """Equality-based selection; an empty selector selects nothing here, as in a Service."""
    return (
        bool(selector)
        and isinstance(selector, dict)
        and isinstance(labels, dict)
        and selector.items() <= labels.items()
    )


__all__ = ["WORKLOAD_KINDS", "Problem", "check_document", "selects"]
