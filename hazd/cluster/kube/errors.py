"""PURE: what an API server's response means in hazd's words: one line, with the field and the value the server named.

Nothing here sends, waits or retries; rest.py does the sending and objects.py decides what is tried again.
"""

from __future__ import annotations

import json
from typing import Any

from hazd.cluster.port import Eviction
from hazd.errors import AlreadyExists, ClusterError, Conflict, NotFound

BUDGET_CAUSE = "DisruptionBudget"
"""`details.causes[].reason` of a 429 that comes from a PodDisruptionBudget (registry/core/pod/storage/eviction.go)."""
_UNREACHED = "error trying to reach service"
_LONGEST = 600


class Unreachable(ClusterError):
    """No whole response came. `sent` says whether the server may have acted on the request all the same."""

    transient = True

    def __init__(self, message: str, hint: str = "", *, sent: bool = True) -> None:
        super().__init__(message, hint)
        self.sent = sent


class Refused(ClusterError):
    """Any other response that is an error: its HTTP status, and the seconds the server asks to wait, if it does."""

    def __init__(self, message: str, hint: str, status: int, retry_after_s: float | None) -> None:
        super().__init__(message, hint)
        self.status = status
        self.transient = status == 429 or status >= 500
        self.retry_after_s = retry_after_s


def read_status(body: bytes) -> dict[str, Any]:
    """The meta/v1 Status in a body, {} when it is something else."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    is_status = isinstance(found, dict) and found.get("kind") == "Status" and found.get("apiVersion") == "v1"
    return found if is_status else {}


def one_line(text: str) -> str:
    """Whitespace runs become one blank; very long texts are cut, with a mark."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def error_of(status: int, body: bytes, what: str, retry_after: str | None = None) -> ClusterError:
    """The error that a response with a status of 400 or more stands for. what: the request in words, "get pod/web"."""
    found = read_status(body)
    reason = str(found.get("reason") or "")
    text = one_line(str(found.get("message") or "") or body.decode(errors="replace")) or f"HTTP {status}"
    if status == 404:
        return NotFound(text if found else f"{what}: {text}")
    if status == 409 and reason == "AlreadyExists":
        return AlreadyExists(text)
    if status == 409:
        return Conflict(text)
    hint = ""
    if status == 401:
        hint = "the context's credentials are not (or no longer) accepted: `kubectl get nodes` with the same context"
    elif status == 403 and reason == "Forbidden" and "cannot" in text:
        hint = "the context's user lacks this right: `kubectl auth can-i --list` shows what it may do"
    wait = float(retry_after) if retry_after and retry_after.isdigit() else None
    return Refused(f"{what}: {text}" if what not in text else text, hint, status, wait)


def eviction_of(status: int, body: bytes) -> Eviction | None:
    """The Eviction API's result; None when the body is another error, such as the server's own overload (also 429)."""
    if status < 300:
        return Eviction(True)
    found = read_status(body)
    causes = (found.get("details") or {}).get("causes") or []
    if status != 429 or not any(cause.get("reason") == BUDGET_CAUSE for cause in causes):
        return None
    texts = [str(found.get("message") or ""), *(str(cause.get("message") or "") for cause in causes)]
    return Eviction(False, one_line(" ".join(text for text in texts if text)))


def proxy_error(status: int, body: bytes, pod: str) -> ClusterError | None:
    """The error when a response came from the API server's pod proxy itself; None when it is the pod's own.

    The proxy's responses look like any other: a Status that speaks of the pod (not found, forbidden), or a 503 (with
    some servers a 502 or 500) whose text says that the pod could not be reached.
    """
    if status < 400:
        return None
    found = read_status(body)
    text = one_line(str(found.get("message") or "") or body[:_LONGEST].decode(errors="replace"))
    if _UNREACHED in text and status >= 500:
        return Unreachable(f"pod {pod}: {text}")
    details = found.get("details") or {}
    if found and status == 404 and details.get("kind") == "pods":
        return NotFound(text)
    if found and status in (401, 403, 429, 500, 502, 503, 504) and found.get("reason"):
        return error_of(status, body, f"request to pod {pod} through the API server")
    return None


__all__ = [
    "BUDGET_CAUSE",
    "Refused",
    "Unreachable",
    "error_of",
    "eviction_of",
    "one_line",
    "proxy_error",
    "read_status",
]
