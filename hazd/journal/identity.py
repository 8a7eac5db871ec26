"""What a trial was: plan, documents, images, cluster, version. A resumed run keeps only what it would run itself.

Pure. Each part is kept under its own name, so that a difference can be named; long values and those that may be
secret are kept as a digest. Not part of it: what is new in every run by its nature (the certificate of --tls, in a
Secret), and what is derived from other parts (the patch shown in reports).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from hazd.manifests import without_secrets
from hazd.model import ClusterInfo, Trial

Identity = dict[str, str]
"""Part -> its value as JSON, or "sha256:" and a digest of that."""

LONGEST = 60
_SECRET = ("traffic.headers", "traffic.body")
_NOT_PART = ("name", "patch", "applied", "traffic.ca_pem")


def identity_of(trial: Trial, info: ClusterInfo, images: Mapping[str, str], version: str) -> Identity:
    """images: role -> reference. version: hazd's own."""
    parts: dict[str, Any] = {"hazd": version, "documents": without_secrets(trial.setup.documents)}
    parts["setup.workload"] = trial.setup.workload
    parts |= {f"cluster.{name}": getattr(info, name) for name in ("kind", "version", "nodes", "uid")}
    parts |= {f"image.{role}": name for role, name in images.items()}
    for item in fields(trial):
        if item.name != "setup":
            parts |= _flat(item.name, getattr(trial, item.name))
    return {name: _kept(name, value) for name, value in sorted(parts.items()) if name not in _NOT_PART}


def _flat(name: str, value: Any) -> dict[str, Any]:
    """A mapping or dataclass as its fields ("traffic.rate"), anything else as itself."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if not isinstance(value, Mapping):
        return {name: value}
    return {f"{name}.{key}": item for key, item in value.items()}


def _kept(name: str, value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    if len(text) <= LONGEST and name not in _SECRET:
        return text
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def why_not_same(recorded: Mapping[str, Any] | None, wanted: Identity) -> str | None:
    """What differs between a recorded trial and the one that this run would run; None when nothing does."""
    if not recorded:
        return "it was recorded by a hazd that did not keep what it was"
    found = []
    for name in sorted({*recorded, *wanted}):
        before, now = recorded.get(name), wanted.get(name)
        if before != now:
            found.append(_difference(name, before, now))
    return "; ".join(found) or None


def _difference(name: str, before: object, now: object) -> str:
    if str(before).startswith("sha256:") or str(now).startswith("sha256:"):
        return f"{name} differs"
    was, is_now = ("not set" if value is None else value for value in (before, now))
    return f"{name} was {was}, now it is {is_now}"


__all__ = ["Identity", "identity_of", "why_not_same"]
