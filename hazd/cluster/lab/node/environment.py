"""PURE: a container's command line and environment from its spec.

Source: kubernetes.io "Define Environment Variables", "Expose Pod Information through environment variables" (fieldRef),
$(VAR) expansion as in third_party/forked/golang/expansion. The lab has no container file systems: a volume's mount path
in command, args and env values becomes the folder that the lab keeps for it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from hazd.model import Manifest

_EXPANSION = re.compile(r"\$(\$)?\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
Lookup = Callable[[str, str], Manifest | None]
"""Kind and name to the object in the pod's namespace."""


class ConfigProblem(Exception):
    """The container cannot be made from its spec (CreateContainerConfigError); the text says why."""


def expand(text: str, known: Mapping[str, str]) -> str:
    """$(NAME) to its value, $$(NAME) to $(NAME); unknown names stay as they are."""

    def one(match: re.Match[str]) -> str:
        if match[1]:
            return f"$({match[2]})"
        return known.get(match[2], match[0])

    return _EXPANSION.sub(one, text)


def field_value(pod: Manifest, path: str, pod_ip: str, host_ip: str) -> str:
    """The downward API's fieldRef. Raises ConfigProblem for a path it does not know."""
    meta, spec = pod["metadata"], pod["spec"]
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript:
        return str((meta.get(subscript[1]) or {}).get(subscript[2], ""))
    values = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": pod_ip,
        "status.podIPs": pod_ip,
        "status.hostIP": host_ip,
        "status.hostIPs": host_ip,
    }
    if path not in values:
        raise ConfigProblem(f"fieldRef {path!r}: unsupported field path")
    return str(values[path])


def _from_key(kind: str, source: Manifest, lookup: Lookup) -> str | None:
    found = lookup(kind, source["name"])
    data = (found or {}).get("data") or {}
    plain = (found or {}).get("stringData") or {}
    if source["key"] in plain:
        return str(plain[source["key"]])
    if source["key"] in data:
        value = str(data[source["key"]])
        return base64.b64decode(value).decode() if kind == "Secret" else value
    if source.get("optional"):
        return None
    raise ConfigProblem(f"{kind.lower()} {source['name']!r} has no key {source['key']!r}")


def environment(pod: Manifest, container: Manifest, pod_ip: str, host_ip: str, lookup: Lookup) -> dict[str, str]:
    """What spec.env and spec.envFrom say, in order. Raises ConfigProblem."""
    result: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if field in source:
                found = lookup(kind, source[field]["name"])
                if found is None and not source[field].get("optional"):
                    raise ConfigProblem(f"{kind.lower()} {source[field]['name']!r} not found")
                for key in (found or {}).get("data") or {}:
                    value = _from_key(kind, {"name": source[field]["name"], "key": key}, lookup)
                    result[source.get("prefix", "") + key] = value or ""
    for entry in container.get("env") or ():
        source = entry.get("valueFrom")
        if not source:
            result[entry["name"]] = expand(str(entry.get("value", "")), result)
        elif "fieldRef" in source:
            result[entry["name"]] = field_value(pod, source["fieldRef"]["fieldPath"], pod_ip, host_ip)
        else:
            for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                if field in source:
                    value = _from_key(kind, source[field], lookup)
                    if value is not None:
                        result[entry["name"]] = value
                    break
            else:
                raise ConfigProblem(f"env {entry['name']!r}: the lab knows no {', '.join(source)}")
    return result


def argv(container: Manifest, environ: Mapping[str, str]) -> list[str]:
    """command and args, expanded."""
    return [expand(str(word), environ) for word in (*container["command"], *(container.get("args") or ()))]


def relocate(text: str, mounts: Mapping[str, Path]) -> str:
    """Replace a mount path in an argument or a value by the lab's folder for it."""
    for path, folder in mounts.items():
        where = rf"(^|[=:,]){re.escape(path.rstrip('/'))}(?=$|[/:,])"
        text = re.sub(where, r"\g<1>" + str(folder).replace("\\", r"\\"), text)
    return text
