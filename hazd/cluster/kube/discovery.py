"""How to read an API server's own list of kinds, for those that are not in the table. Pure: nothing here sends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hazd.cluster.kinds import Resource


def preferred_versions(group_list: Mapping[str, Any]) -> list[str]:
    """The preferred version of each group in an APIGroupList."""
    return [str(group["preferredVersion"]["groupVersion"]) for group in group_list.get("groups") or ()]


def find_resource(resource_list: Mapping[str, Any], kind: str) -> Resource | None:
    """A kind in an APIResourceList; its subresources (their names have a slash) are passed over."""
    for item in resource_list.get("resources") or ():
        if item.get("kind") == kind and "/" not in item.get("name", ""):
            return Resource(kind, str(resource_list["groupVersion"]), str(item["name"]), bool(item.get("namespaced")))
    return None


__all__ = ["find_resource", "preferred_versions"]
