"""YAML documents: read them, check what a trial relies on, find the workload in them, edit copies, show a diff.

Everything but `load_documents` is pure, and nothing given is ever changed. This is not a schema check: the API server
does that. What is checked here is what would otherwise surface late or as something else.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from hazd.errors import UsageError
from hazd.manifests.check import WORKLOAD_KINDS, check_document, selects
from hazd.model import Manifest


def load_documents(path: Path) -> tuple[Manifest, ...]:
    """Every document of a file. Raises UsageError with all problems, each with file, document, field and value."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}", "name a readable YAML file") from error
    return parse_documents(text, str(path))


def parse_documents(text: str, source: str) -> tuple[Manifest, ...]:
    """Every document of a YAML text, `kind: List` split, empty documents skipped. Raises UsageError."""
    try:
        found = [item for item in yaml.safe_load_all(text) if item is not None]
    except yaml.YAMLError as error:
        raise UsageError(f"{source}: not YAML: {error}", "check the indentation and the quotes there") from error
    if not found:
        raise UsageError(f"{source}: holds no document", "at least a Deployment and a Service are needed")
    documents: list[Manifest] = []
    problems: list[str] = []
    seen: set[tuple[object, ...]] = set()
    for number, raw in enumerate(found, 1):
        is_list = isinstance(raw, dict) and raw.get("kind") == "List" and isinstance(raw.get("items"), list)
        for doc in raw["items"] if is_list else [raw]:
            wrong = list(check_document(doc))
            where = f"{source}: document {number}" + (f" ({_title(doc)})" if isinstance(doc, dict) else "")
            problems += [f"{where}: {field}: {value!r} is not {want}" for field, value, want in wrong]
            if not wrong:
                key = (doc["kind"], doc["metadata"].get("namespace", ""), doc["metadata"]["name"])
                if key in seen:
                    problems.append(f"{where}: the same object comes twice; leave one of them out")
                seen.add(key)
                documents.append(doc)
    if problems:
        raise UsageError("\n".join(problems), "nothing was applied")
    return tuple(documents)


def _title(doc: Mapping[str, Any]) -> str:
    meta = doc.get("metadata")
    return f"{str(doc.get('kind')).lower()}/{meta.get('name') if isinstance(meta, dict) else '?'}"


def pod_labels(workload: Manifest) -> dict[str, str]:
    """The labels of a workload's pods."""
    return dict((workload["spec"]["template"].get("metadata") or {}).get("labels") or {})


def pod_spec(workload: Manifest) -> dict[str, Any]:
    """The pod's spec inside a workload, the thing itself and not a copy."""
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def services_of(workload: Manifest, documents: Iterable[Manifest]) -> list[Manifest]:
    """The Services whose selector takes this workload's pods."""
    services = (doc for doc in documents if doc["kind"] == "Service")
    return [doc for doc in services if selects((doc.get("spec") or {}).get("selector"), pod_labels(workload))]


def choose_workload(documents: Sequence[Manifest], name: str = "") -> Manifest:
    """The workload under test: the one named, else the only one that a Service selects, else the only one at all.

    Raises UsageError naming the candidates.
    """
    every = [doc for doc in documents if doc["kind"] in WORKLOAD_KINDS]
    served = [doc for doc in every if services_of(doc, documents)]
    picked = [doc for doc in every if doc["metadata"]["name"] == name] if name else served or every
    if len(picked) == 1:
        return picked[0]
    kinds = " or ".join(WORKLOAD_KINDS)
    if not every:
        found = ", ".join(sorted({doc["kind"] for doc in documents})) or "nothing"
        raise UsageError(f"the manifests hold no {kinds}, only {found}", "add the workload that is to be tested")
    titles = ", ".join(_title(doc) for doc in every)
    if name:
        raise UsageError(f"workload: {name!r} is not one {kinds} of the manifests", f"they hold: {titles}")
    raise UsageError(f"several workloads could be meant: {titles}", "name the one that is to be tested")


def find_workload(documents: Sequence[Manifest], name: str = "") -> tuple[Manifest, Manifest]:
    """The workload under test and the Service in front of it. Raises UsageError when either is not one clear object."""
    workload = choose_workload(documents, name)
    services = services_of(workload, documents)
    # A headless Service gives no ClusterIP to send to: it is second choice, not an error of its own.
    fronts = [doc for doc in services if doc["spec"].get("clusterIP") != "None"] or services
    if len(fronts) != 1:
        found = ", ".join(_title(doc) for doc in fronts) or "none"
        raise UsageError(
            f"{_title(workload)}: Services that select its pods {pod_labels(workload)}: {found}; needed is exactly one",
            "give one Service whose spec.selector is among these labels",
        )
    return workload, fronts[0]


def app_containers(workload: Manifest, documents: Iterable[Manifest]) -> list[dict[str, Any]]:
    """The container a fix is for: the one behind the Service's target port, else the first; none of no containers."""
    containers: list[dict[str, Any]] = pod_spec(workload)["containers"]
    targets = {
        port.get("targetPort", port["port"])
        for service in services_of(workload, documents)
        for port in service["spec"].get("ports") or ()
    }
    for item in containers:
        if any({port.get("name"), port["containerPort"]} & targets for port in item.get("ports") or ()):
            return [item]
    return containers[:1]


def plain(doc: Manifest) -> Manifest:
    """A deep copy through JSON: parts that two places of the original share become two parts."""
    copy: Manifest = json.loads(json.dumps(doc))
    return copy


def edited(documents: Sequence[Manifest], chosen: Manifest, change: Callable[[Manifest], None]) -> tuple[Manifest, ...]:
    """Copies of all documents, `change` done to the copy of `chosen` (found by identity)."""
    copies = []
    for doc in documents:
        copy = plain(doc)
        if doc is chosen:
            change(copy)
        copies.append(copy)
    return tuple(copies)


def placed(doc: Manifest, namespace: str, labels: Mapping[str, str]) -> Manifest:
    """A copy in this namespace with these labels besides its own.

    A RoleBinding's service accounts are those of the same namespace, whatever namespace they were written for.
    """
    meta = {**doc["metadata"], "namespace": namespace}
    meta["labels"] = {**(meta.get("labels") or {}), **labels}
    moved = {**doc, "metadata": meta}
    if doc["kind"] == "RoleBinding":
        moved["subjects"] = [
            {**item, "namespace": namespace} if item.get("kind") == "ServiceAccount" else item
            for item in doc.get("subjects") or ()
        ]
    return moved


class _Plain(yaml.SafeDumper):
    """Without anchors: a label set used twice is written twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def without_secrets(documents: Iterable[Manifest]) -> list[Manifest]:
    """The documents as they may be kept: what a Secret holds is replaced by its length."""
    kept = []
    for doc in documents:
        if doc["kind"] == "Secret":
            doc = dict(doc)
            for field in ("data", "stringData"):
                if doc.get(field):
                    doc[field] = {name: f"<{len(str(text))} characters>" for name, text in doc[field].items()}
        kept.append(doc)
    return kept


def dump(documents: Iterable[Manifest]) -> str:
    """The documents as YAML, keys in their own order."""
    return yaml.dump_all(documents, Dumper=_Plain, sort_keys=False, width=120)


def diff(before: Iterable[Manifest], after: Iterable[Manifest]) -> str:
    """Unified diff of two sets of documents as YAML, object by object; "" when they are the same."""
    old = {_title(doc): doc for doc in before}
    new = {_title(doc): doc for doc in after}
    lines: list[str] = []
    for title in [*old, *(title for title in new if title not in old)]:
        if old.get(title) != new.get(title):
            one, other = (dump([side[title]]).splitlines() if title in side else [] for side in (old, new))
            names = [f"{when}/{title}" if text else "/dev/null" for when, text in (("before", one), ("after", other))]
            lines += difflib.unified_diff(one, other, names[0], names[1], lineterm="")
    return "\n".join(lines) + ("\n" if lines else "")


__all__ = [
    "WORKLOAD_KINDS",
    "app_containers",
    "choose_workload",
    "diff",
    "dump",
    "edited",
    "find_workload",
    "load_documents",
    "parse_documents",
    "placed",
    "plain",
    "pod_labels",
    "pod_spec",
    "services_of",
    "without_secrets",
]
