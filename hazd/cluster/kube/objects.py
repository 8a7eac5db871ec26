"""kubectl's verbs on objects, by REST and plain dicts, and what of it is tried again when the wire fails.

Only calls that may be sent twice without harm are repeated, and those that certainly never arrived. It knows no
models, no scenario and no kind of cluster; streams and nodes are cluster.py's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from hazd.cluster.kinds import BUILT_IN, Resource, group_path
from hazd.cluster.kube.discovery import find_resource, preferred_versions
from hazd.cluster.kube.errors import Refused, Unreachable, error_of, eviction_of
from hazd.cluster.kube.rest import JSON, MERGE_PATCH, POOL, Response, Rest
from hazd.cluster.outage import Silence, pause_s
from hazd.cluster.port import Eviction
from hazd.errors import ClusterError, Conflict, NotFound
from hazd.model import Manifest, Ref

T = TypeVar("T")
RETRY_S = 15.0
CONFLICT_TRIES = 5
ACCOUNT_S = 10.0


class KubeObjects:
    """Objects behind one context. Raises UsageError at once for a context that does not exist."""

    def __init__(self, context: str | None, kubeconfig: str | None) -> None:
        self._rest = Rest(context, kubeconfig)
        self._found: dict[str, Resource] = {}
        self._limiter: anyio.CapacityLimiter | None = None

    def _open(self) -> None:
        """To be called in the event loop, before anything else."""
        self._limiter = anyio.CapacityLimiter(POOL)

    async def create(self, doc: Manifest) -> Manifest:
        """POST one object. Raises AlreadyExists, ClusterError (with the server's message: field and value).

        A Pod in a namespace so young that it has no service account yet is tried again for some seconds.
        """
        kind, meta = str(doc.get("kind")), doc.get("metadata") or {}
        resource = await self._resource(kind, str(doc.get("apiVersion") or ""))
        namespace = str(meta.get("namespace") or "")
        if resource.namespaced and not namespace:
            raise ClusterError(f"{kind} {meta.get('name')} has no metadata.namespace", "name the namespace it goes to")
        path, body = resource.path(namespace), json.dumps(doc).encode()
        what = f"create {kind.lower()}/{meta.get('name')}"
        deadline = anyio.current_time() + ACCOUNT_S
        while True:
            try:
                return await self._json("POST", path, body=body, what=what)
            except Refused as error:
                young = kind == "Pod" and error.status == 403 and "serviceaccount" in error.message
                if not young or anyio.current_time() > deadline:
                    raise
            await anyio.sleep(0.1)

    async def get(self, ref: Ref) -> Manifest:
        """Raises NotFound."""
        resource = await self._resource(ref.kind)
        return await self._json("GET", resource.object_path(ref), what=f"get {ref}")

    async def list(self, kind: str, namespace: str = "", selector: str = "") -> list[Manifest]:
        """All objects of a kind; namespace "" means all namespaces; selector "a=b,c=d" (equality only)."""
        resource = await self._resource(kind)
        path = resource.path(namespace)
        found = await self._json("GET", path, {"labelSelector": selector}, timeout_s=30, what=f"list {kind}")
        known = {"kind": kind, "apiVersion": resource.api_version}
        return [{**item, **known} for item in found.get("items") or ()]

    async def patch(self, ref: Ref, patch: dict[str, Any], subresource: str = "") -> Manifest:
        """JSON merge patch (RFC 7396). Raises Conflict for a stale resourceVersion, NotFound, ClusterError.

        Without a resourceVersion a conflict can only be the server's own race and is tried again.
        """
        resource = await self._resource(ref.kind)
        path, body = resource.object_path(ref, subresource), json.dumps(patch).encode()
        fixed = "resourceVersion" in (patch.get("metadata") or {})
        what = f"patch {ref}" + (f" ({subresource})" if subresource else "")
        return await self._json("PATCH", path, body=body, content_type=MERGE_PATCH, safe=not fixed, what=what)

    async def delete(self, ref: Ref, grace_s: int | None = None) -> bool:
        """Start the deletion; False: there was no such object. grace_s 0 deletes a Pod at once (kubectl --force)."""
        resource = await self._resource(ref.kind)
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        send = self._sender(
            "DELETE", resource.object_path(ref), body=json.dumps(options).encode(), what=f"delete {ref}"
        )
        lost = False

        def noted() -> Response:
            nonlocal lost
            try:
                return send()
            except Unreachable as error:
                lost = lost or error.sent
                raise

        try:
            await self._retried(noted, safe=True)
        except NotFound:
            return lost  # an earlier try may have done it, its response having been lost
        return True

    async def evict(self, pod: Ref, grace_s: int | None = None) -> Eviction:
        """POST policy/v1 Eviction. Raises NotFound; a budget that says no is a result, not an error."""
        meta = {"name": pod.name, "namespace": pod.namespace}
        body: dict[str, Any] = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta}
        if grace_s is not None:
            body["deleteOptions"] = {"gracePeriodSeconds": grace_s}
        path = BUILT_IN["Pod"].object_path(pod, "eviction")

        def send() -> Eviction:
            response = self._rest.call("POST", path, body=json.dumps(body).encode())
            found = eviction_of(response.status, response.body)
            if found is None:
                raise error_of(response.status, response.body, f"evict {pod}", response.headers.get("retry-after"))
            return found

        return await self._retried(send, safe=False)

    async def _resource(self, kind: str, api_version: str = "") -> Resource:
        """A kind's place on this server. Raises NotFound for a kind that the server does not have (yet)."""
        built_in = BUILT_IN.get(kind)
        if built_in is not None and api_version in ("", built_in.api_version):
            return built_in
        key = f"{kind} {api_version}"
        if key in self._found:
            return self._found[key]
        versions = [api_version] if api_version else preferred_versions(await self._json("GET", "/apis"))
        for version in versions:
            try:
                found = find_resource(await self._json("GET", group_path(version)), kind)
            except (NotFound, Refused):  # an aggregated API whose server is away must not hide the others
                continue
            if found is not None:
                self._found[key] = found
                return found
        where = f" in {api_version}" if api_version else ""
        raise NotFound(
            f"the cluster knows no kind {kind!r}{where}", "is what defines it (a CRD, an APIService) installed?"
        )

    async def _json(
        self,
        method: str,
        path: str,
        query: dict[str, object] | None = None,
        *,
        body: bytes | None = None,
        content_type: str = JSON,
        safe: bool | None = None,
        what: str = "",
        timeout_s: float = 10.0,
        retry_s: float = RETRY_S,
    ) -> dict[str, Any]:
        """One call with its retries; safe: it may be sent twice (default: everything but POST)."""
        send = self._sender(method, path, query, body=body, content_type=content_type, what=what, timeout_s=timeout_s)
        may_repeat = method != "POST" if safe is None else safe
        response = await self._retried(send, safe=may_repeat, reads=method == "GET", limit_s=retry_s)
        return response.json()

    def _sender(
        self,
        method: str,
        path: str,
        query: dict[str, object] | None = None,
        *,
        body: bytes | None = None,
        content_type: str = JSON,
        what: str = "",
        timeout_s: float = 10.0,
    ) -> Callable[[], Response]:
        """One try of a call, to be made in a thread; it raises what the response means."""

        def send() -> Response:
            response = self._rest.call(method, path, query, body, content_type, timeout_s)
            if response.status >= 400:
                words, retry_after = what or f"{method} {path}", response.headers.get("retry-after")
                raise error_of(response.status, response.body, words, retry_after)
            return response

        return send

    async def _retried(self, send: Callable[[], T], *, safe: bool, reads: bool = False, limit_s: float = RETRY_S) -> T:
        """Call send() in a thread until it succeeds or fails for good; limit_s bounds when the last try may begin.

        Tried again: what never reached the server and what the server turned away unread (429, and 403 from one that
        was away just now), always; lost responses, 5xx and a merge that lost a race, only when safe. A change under way
        is never abandoned by cancellation, because what undoes it might overtake it.
        """
        deadline = anyio.current_time() + limit_s
        tries = 0
        silence = Silence()
        while True:
            tries += 1
            wait_s = pause_s(tries)
            try:
                return await anyio.to_thread.run_sync(send, limiter=self._limiter, abandon_on_cancel=reads)
            except Unreachable as error:
                again = safe or not error.sent
                silence.explains(error)
                failed: ClusterError = error
            except Refused as error:
                again = error.status == 429 or (safe and error.status >= 500)
                again = again or (error.status == 403 and silence.explains(error))
                wait_s = max(wait_s, min(error.retry_after_s or 0.0, 5.0))
                failed = error
            except Conflict as error:
                again = safe and tries < CONFLICT_TRIES
                failed = error
            if not again or anyio.current_time() + wait_s > deadline:
                raise failed
            await anyio.sleep(wait_s)


__all__ = ["KubeObjects"]
