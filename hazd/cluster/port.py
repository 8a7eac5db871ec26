"""The port every cluster stands behind: about a dozen of kubectl's verbs on Kubernetes-shaped objects (plain dicts).

One contract suite (tests/contract) holds every implementation to the same behaviour. The port knows nothing of traffic,
scenarios or verdicts. Errors are those of hazd.errors: NotFound, AlreadyExists, Conflict, TimedOut, ClusterError.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from hazd.model import ClusterInfo, Event, Manifest, Ref

MANAGED_BY = {"app.kubernetes.io/managed-by": "hazd"}
RUN_LABEL = "hazd.dev/run"
UNDO_ANNOTATION = "hazd.dev/undo"
"""On a node that runs cordoned (JSON): the namespaces of the runs that hold it, and its unschedulable before them."""

STOPPED_ANNOTATION = "hazd.dev/stopped"
"""On a node that a run took the power from, until it is Ready again: the run's namespace."""


@dataclass(frozen=True, slots=True)
class Eviction:
    """Result of the Eviction API: `allowed`, or blocked by a PodDisruptionBudget (HTTP 429) with its message."""

    allowed: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Images:
    """Image references every node can start without pulling: the sample app under two tags, and the worker."""

    app: str
    app_next: str
    worker: str


class Cluster(Protocol):
    """One cluster, entered once. Everything is safe to call from several tasks at the same time."""

    @property
    def info(self) -> ClusterInfo: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...

    async def images(self) -> Images:
        """Build and load what is missing; idempotent. In the lab the names are symbolic."""
        ...

    async def provide(self, need: str) -> str:
        """See to an ability beyond plain Kubernetes: "stop-node", "metrics" (metrics.k8s.io), "vpa" (CRDs and loops).

        Returns "" when it is there (hazd's own kind cluster may install it), else what is missing and the remedy.
        """
        ...

    async def create(self, doc: Manifest) -> Manifest:
        """POST one object. Raises AlreadyExists, ClusterError (with the server's message: field and value)."""
        ...

    async def get(self, ref: Ref) -> Manifest:
        """Raises NotFound."""
        ...

    async def list(self, kind: str, namespace: str = "", selector: str = "") -> list[Manifest]:
        """All objects of a kind; namespace "" means all namespaces; selector "a=b,c=d" (equality only)."""
        ...

    async def patch(self, ref: Ref, patch: dict[str, Any], subresource: str = "") -> Manifest:
        """JSON merge patch (RFC 7396); None deletes a key, lists are replaced whole.

        subresource: "scale", "status", "resize" or "" for the object itself.
        A patch with metadata.resourceVersion raises Conflict when the object has changed.
        """
        ...

    async def delete(self, ref: Ref, grace_s: int | None = None) -> bool:
        """Start the deletion; False when there was no such object. grace_s 0 on a Pod is kubectl's --force."""
        ...

    async def evict(self, pod: Ref, grace_s: int | None = None) -> Eviction:
        """POST policy/v1 Eviction. Raises NotFound; a budget that says no is a result, not an error."""
        ...

    def watch(self, kind: str, namespace: str) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Events of a kind in a namespace from now on ("" = cluster-wide), first the existing objects as ADDED.

        `detail` is `watch.digest(obj)`. Broken streams are resumed by resourceVersion; when that is too old (HTTP 410)
        or the stream was down for longer than 1 s, an Event with reason GAP says from when to when nothing was seen.
        Every iterator sees objects in order. Leaving the context ends the stream.
        """
        ...

    def logs(self, pod: Ref, container: str = "") -> AbstractAsyncContextManager[AsyncIterator[str]]:
        """Lines of a container's log from its start, followed until it ends; waits for the container to start."""
        ...

    async def pod_request(
        self, pod: Ref, port: int, method: str, path: str, body: bytes = b"", timeout_s: float = 10.0
    ) -> tuple[int, bytes]:
        """One HTTP request to a pod's own IP, past every Service rule: (status, body). For control traffic only."""
        ...

    async def stop_node(self, name: str) -> None:
        """Take a node away without notice (power off). Raises ClusterError where this cluster cannot."""
        ...

    async def start_node(self, name: str) -> None:
        """Bring it back; idempotent. Does not wait for Ready."""
        ...
