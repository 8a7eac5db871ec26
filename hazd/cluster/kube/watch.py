"""One watch of one kind, as a thread's work: list, follow, resume by resourceVersion, list again when that is too old.

Source: "Efficient detection of changes" in the Kubernetes API concepts (watch, bookmarks, 410 Gone). What could not be
seen is said by GAP events, never hidden; what a watch keeps of an object is decided in watch.py.
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from hazd.clock import unix_ns
from hazd.cluster.kinds import Resource
from hazd.cluster.kube.errors import Refused, Unreachable, error_of
from hazd.cluster.kube.feed import Feed
from hazd.cluster.kube.rest import Rest, Stream
from hazd.cluster.outage import Silence, pause_s
from hazd.cluster.watch import ADDED, DELETED, MODIFIED, difference, gap_event, watch_event
from hazd.errors import ClusterError
from hazd.model import Event, Manifest, Ref

SERVER_SIDE_S = 290  # the server ends the stream after this, in an orderly way
SILENT_S = 100.0  # bookmarks come about once a minute; a stream silent for longer is reopened
GAP_NS = 1_000_000_000
RETELL_NS = 10_000_000_000
LONGEST_PAUSE_S = 0.8
GONE = 410  # the resourceVersion to resume from is too old: only a new listing helps


class Watcher:
    """The state of one watch. run() is the thread's work, stop() ends it from outside."""

    def __init__(self, rest: Rest, resource: Resource, namespace: str) -> None:
        self._rest = rest
        self._resource = resource
        self._namespace = namespace if resource.namespaced else ""
        self._path = resource.path(self._namespace)
        self._known: dict[Ref, Event] = {}
        self._version = ""
        self._stream: Stream | None = None
        self._stopped = threading.Event()
        self._down_since_ns: int | None = None
        self._failures = 0
        self._silence = Silence(now=time.monotonic)

    def stop(self) -> None:
        self._stopped.set()
        if (stream := self._stream) is not None:
            stream.close()

    def run(self, feed: Feed[Event]) -> None:
        """Raises ClusterError for what will not get better: no right to watch, no such kind (any more)."""
        for obj in self._list():
            self._tell(feed, watch_event(obj, ADDED, unix_ns()))
        feed.opened()
        while not self._stopped.is_set():
            begun_ns = unix_ns()
            try:
                if self._version:
                    self._follow(feed)
                else:
                    self._list_again(feed)
            except (Unreachable, Refused, ValueError, KeyError) as error:
                self._mark_down()
                if isinstance(error, Refused) and error.status == GONE:
                    self._version = ""
                elif isinstance(error, ClusterError) and not self._silence.explains(error):
                    raise
                self._tell_long_gap(feed, str(error.args[0]))
            # A stream that lasted is opened again at once; one that did not must not be asked for in a tight loop.
            self._failures = 0 if unix_ns() - begun_ns > GAP_NS else self._failures + 1
            self._stopped.wait(pause_s(self._failures, LONGEST_PAUSE_S))

    def _list(self) -> list[Manifest]:
        response = self._rest.call("GET", self._path, timeout_s=30)
        if response.status >= 400:
            raise error_of(
                response.status, response.body, f"list {self._resource.kind}", response.headers.get("retry-after")
            )
        found = response.json()
        self._version = str(found["metadata"]["resourceVersion"])
        known = {"kind": self._resource.kind, "apiVersion": self._resource.api_version}
        return [{**item, **known} for item in found.get("items") or ()]

    def _list_again(self, feed: Feed[Event]) -> None:
        """After 410: what happened in between follows from the difference, after a GAP that says so."""
        listed = self._list()
        now_ns = unix_ns()
        since_ns = self._down_since_ns or now_ns
        feed.put(self._gap(since_ns, now_ns, "the resourceVersion was too old (HTTP 410); listed again"))
        self._down_since_ns = None
        for event in difference(self._known, listed, now_ns):
            self._tell(feed, event)

    def _follow(self, feed: Feed[Event]) -> None:
        """One stream from the last version to its end."""
        query: dict[str, object] = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": SERVER_SIDE_S,
        }
        self._stream = stream = self._rest.stream(self._path, query, SILENT_S)
        if self._stopped.is_set():  # stop() came before there was a stream to close
            stream.close()
        stream.on_open = lambda: self._resumed(feed)
        for line, observed_ns in stream.lines():
            if not line.strip():
                continue
            change: dict[str, Any] = json.loads(line)
            self._take(feed, str(change["type"]), change["object"], observed_ns)
        self._mark_down()

    def _take(self, feed: Feed[Event], reason: str, obj: Manifest, observed_ns: int) -> None:
        if reason == "ERROR":
            raise error_of(int(obj.get("code") or 500), json.dumps(obj).encode(), f"watch {self._resource.kind}")
        self._version = str(obj["metadata"]["resourceVersion"])
        if reason in (ADDED, MODIFIED, DELETED):
            obj = {**obj, "kind": self._resource.kind, "apiVersion": self._resource.api_version}
            self._tell(feed, watch_event(obj, reason, observed_ns))

    def _tell(self, feed: Feed[Event], event: Event) -> None:
        if event.reason == DELETED:
            self._known.pop(event.ref, None)
        else:
            self._known[event.ref] = event
        feed.put(event)

    # -- gaps --------------------------------------------------------------------------------------------------------
    def _mark_down(self) -> None:
        if self._down_since_ns is None:
            self._down_since_ns = unix_ns()

    def _resumed(self, feed: Feed[Event]) -> None:
        """The stream stands again. Nothing is lost, as it goes on from the last version, but it comes late."""
        since_ns, now_ns = self._down_since_ns, unix_ns()
        self._down_since_ns = None
        if since_ns is not None and now_ns - since_ns > GAP_NS:
            feed.put(self._gap(since_ns, now_ns, "the stream was down; what happened meanwhile comes late"))

    def _tell_long_gap(self, feed: Feed[Event], why: str) -> None:
        """A gap that lasts is reported in pieces, so that a run that ends within it has it in its journal."""
        since_ns, now_ns = self._down_since_ns, unix_ns()
        if since_ns is not None and now_ns - since_ns > RETELL_NS:
            feed.put(self._gap(since_ns, now_ns, f"still down: {why}"))
            self._down_since_ns = now_ns

    def _gap(self, from_ns: int, to_ns: int, why: str) -> Event:
        return gap_event(self._resource.kind, self._namespace, from_ns, to_ns, why)


__all__ = ["Watcher"]
