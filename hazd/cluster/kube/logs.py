"""One container's log, as a thread's work: from its first line to its last, each once, whatever happens to the stream.

The kubelet ends a followed log when the container has ended, but so does an API server that lost its kubelet, and the
two look alike; so after every end the pod is asked how it stands, and the log once more for what may be missing.
Lines are distinguished by the runtime's own nanosecond time stamps. Limit: what a runtime has rotated away is lost.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hazd.cluster.kinds import BUILT_IN
from hazd.cluster.kube.errors import Refused, Unreachable, error_of
from hazd.cluster.kube.feed import Feed
from hazd.cluster.kube.rest import Rest, Stream
from hazd.cluster.outage import pause_s
from hazd.cluster.watch import parse_time_ns
from hazd.errors import ClusterError, NotFound
from hazd.model import Manifest, Ref

FORBIDDEN = 403  # also an API server's first word to anybody after a restart, while its RBAC caches are empty
NOT_STARTED = 400  # "container ... is waiting to start", "pod ... does not have a host assigned"
LONGEST_WAIT_S = 0.8
OVERLAP_NS = 1_000_000_000  # lines of two output streams may come a little out of order


class Follower:
    """The state of one followed log. run() is the thread's work, stop() ends it from outside."""

    def __init__(self, rest: Rest, pod: Ref, container: str) -> None:
        self._rest = rest
        self._pod = pod
        self._path = BUILT_IN["Pod"].object_path(pod)
        self._container = container
        self._uid = ""
        self._stream: Stream | None = None
        self._stopped = threading.Event()
        self._newest_ns: int | None = None
        self._recent: deque[tuple[int, bytes]] = deque()
        self._cut = ""
        self._tries = 0

    def stop(self) -> None:
        self._stopped.set()
        if (stream := self._stream) is not None:
            stream.close()

    def run(self, feed: Feed[str]) -> None:
        """Ends with the container's last life. Raises NotFound at once, ClusterError when the end may be missing."""
        pod = self._get_pod()
        self._uid = pod["metadata"]["uid"]
        self._choose(pod)
        feed.opened()
        while not self._stopped.is_set():
            progress = self._read(feed, follow=True)
            if self._stopped.is_set() or (progress != "waiting" and self._ended(feed)):
                break
            self._tries += 1
            self._stopped.wait(pause_s(self._tries, LONGEST_WAIT_S))
        if self._cut and not self._stopped.is_set():
            raise ClusterError(f"the log of {self._pod} was cut off, its last lines may be missing: {self._cut}")

    def _get_pod(self) -> Manifest:
        response = self._rest.call("GET", self._path)
        if response.status >= 400:
            raise error_of(response.status, response.body, f"get {self._pod}", response.headers.get("retry-after"))
        return response.json()

    def _choose(self, pod: Manifest) -> None:
        """The first container when none is named, as kubectl does."""
        names = [str(item["name"]) for item in pod["spec"]["containers"]]
        self._container = self._container or names[0]
        known = names + [str(item["name"]) for item in pod["spec"].get("initContainers") or ()]
        if self._container not in known:
            raise NotFound(f"{self._pod} has no container {self._container!r}", f"it has: {', '.join(known)}")

    def _read(self, feed: Feed[str], follow: bool) -> str:
        """One stream to its end: "ended", "broken", "waiting" (not started yet) or "not found" (404).

        A 404 may also be a kubelet's that has not heard of its new pod yet, so only the API server's word on the pod
        itself ends the following.
        """
        query: dict[str, object] = {"container": self._container, "timestamps": "true"}
        if follow:
            query["follow"] = "true"
        if self._newest_ns is not None:
            since = datetime.fromtimestamp((self._newest_ns - OVERLAP_NS) // 1_000_000_000, UTC)
            query["sinceTime"] = since.strftime("%Y-%m-%dT%H:%M:%SZ")
        again = Counter(line for _, line in self._recent)
        self._stream = stream = self._rest.stream(f"{self._path}/log", query, None if follow else 10.0)
        if self._stopped.is_set():  # stop() came before there was a stream to close
            stream.close()
        try:
            for line, _ in stream.lines():
                if again[line] > 0:
                    again[line] -= 1
                else:
                    self._take(feed, line)
        except NotFound:
            return "not found"
        except Unreachable as error:
            self._cut = error.message
            return "broken"
        except Refused as error:
            if error.status == NOT_STARTED:
                return "waiting"
            allowed_before = error.status == FORBIDDEN and self._newest_ns is not None
            if not error.transient and not allowed_before:
                raise
            self._cut = error.message
            return "broken"
        self._cut = ""
        return "ended"

    def _take(self, feed: Feed[str], line: bytes) -> None:
        stamp, _, text = line.partition(b" ")
        at_ns = parse_time_ns(stamp.decode(errors="replace"))
        if at_ns is None:  # not the container's: the kubelet's own words, such as "unable to retrieve container logs"
            return
        self._tries = 0
        self._newest_ns = max(at_ns, self._newest_ns or 0)
        self._recent.append((at_ns, line))
        oldest_ns = (self._newest_ns - OVERLAP_NS) // 1_000_000_000 * 1_000_000_000
        while self._recent and self._recent[0][0] < oldest_ns:
            self._recent.popleft()
        feed.put(text.decode(errors="replace"))

    def _ended(self, feed: Feed[str]) -> bool:
        """Whether nothing more can come. A container that ended for good is read once more to its very last line."""
        try:
            pod = self._get_pod()
        except NotFound:
            return True
        except (Unreachable, Refused) as error:
            self._cut = self._cut or error.message
            return False
        if pod["metadata"]["uid"] != self._uid:
            return True
        if not is_over(pod, self._container):
            return False
        return self._read(feed, follow=False) in ("ended", "not found")


def is_over(pod: Mapping[str, Any], container: str) -> bool:
    """PURE: whether a container has ended and will not be started again in this pod."""
    status = pod.get("status") or {}
    states = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    state = next((item.get("state") or {} for item in states if item.get("name") == container), {})
    if status.get("phase") in ("Succeeded", "Failed") and "running" not in state:
        return True
    if "terminated" not in state:
        return False
    policy = pod["spec"].get("restartPolicy", "Always")
    succeeded = state["terminated"].get("exitCode") == 0
    return bool(pod["metadata"].get("deletionTimestamp")) or policy == "Never" or (policy == "OnFailure" and succeeded)


__all__ = ["Follower", "is_over"]
