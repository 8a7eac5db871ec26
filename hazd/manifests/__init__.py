"""YAML documents as plain data: pure transforms, their checks, and the user's own workload."""

from hazd.manifests.documents import (
    WORKLOAD_KINDS,
    app_containers,
    choose_workload,
    diff,
    dump,
    edited,
    find_workload,
    load_documents,
    parse_documents,
    placed,
    plain,
    pod_labels,
    pod_spec,
    services_of,
    without_secrets,
)

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
