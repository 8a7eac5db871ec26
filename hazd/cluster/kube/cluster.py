"""The cluster port over any kubeconfig context: its facts, streams, nodes and abilities; objects are objects.py's.

It must not change anything that it was not asked to: no context but the one that is named, no installing of what is
missing.
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import anyio
import anyio.to_thread
import yaml

from hazd.cluster.kinds import BUILT_IN
from hazd.cluster.kube.errors import Refused, proxy_error
from hazd.cluster.kube.feed import Feed
from hazd.cluster.kube.logs import Follower
from hazd.cluster.kube.objects import KubeObjects
from hazd.cluster.kube.rest import BYTES
from hazd.cluster.kube.watch import Watcher
from hazd.cluster.port import Images
from hazd.cluster.process import run
from hazd.errors import ClusterError, EnvironmentProblem, NotFound, UsageError
from hazd.model import ClusterInfo, Event, Ref

OPEN_S = 8.0
NODE_COMMAND_S = 60.0
METRICS = "/apis/metrics.k8s.io/v1beta1/nodes"
IMAGE_HINT = (
    "build hazd's workload image, push it under two tags to a registry the nodes reach, "
    "and name it: --image REGISTRY/NAME:TAG (a rolling update changes to NAME:TAG-next) or --image NAME:TAG,NAME:TAG2"
)


class KubeCluster(KubeObjects):
    """A cluster behind a kubeconfig context. Raises UsageError at once for a context that does not exist.

    context None: the current one. kubeconfig None: $KUBECONFIG or ~/.kube/config. images: references that the nodes
    can start. node_command: what stop_node runs in a shell, {node} being the node's name and {action} "stop" or
    "start"; without {action} it is a command that stops, and nothing can start the node again.
    """

    def __init__(
        self,
        context: str | None = None,
        kubeconfig: str | None = None,
        kind: str = "context",
        *,
        images: Images | None = None,
        node_command: str | None = None,
    ) -> None:
        if node_command is not None and "{node}" not in node_command:
            raise UsageError(f"--node-command {node_command!r} lacks {{node}}", 'such as "ssh {node} sudo poweroff -f"')
        super().__init__(context, kubeconfig)
        self._kind = kind
        self._images = images
        self._node_command = node_command
        self._info: ClusterInfo | None = None

    @property
    def info(self) -> ClusterInfo:
        if self._info is None:
            raise ClusterError(f"the cluster of context {self._rest.context} is not open yet")
        return self._info

    async def __aenter__(self) -> Self:
        """Raises ClusterError when the API server does not respond within 10 s."""
        self._open()
        version = (await self._json("GET", "/version", timeout_s=OPEN_S / 2, retry_s=OPEN_S / 2))["gitVersion"]
        note = ""
        try:
            nodes = len(await self.list("Node"))
        except Refused as error:
            nodes, note = 0, f"nodes cannot be listed: {error.message}"
        proxy_mode = await self._proxy_mode()
        self._info = ClusterInfo(self._kind, self._rest.context, version, nodes, proxy_mode, note, await self._uid())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._rest.close()

    async def _uid(self) -> str:
        """The usual identity of a cluster, which has none of its own; "" where the namespace may not be read."""
        try:
            return str((await self.get(Ref("Namespace", "kube-system")))["metadata"]["uid"])
        except (ClusterError, KeyError):
            return ""

    async def _proxy_mode(self) -> str:
        """kube-proxy's own configuration as kubeadm stores it; its empty mode means iptables on Linux."""
        try:
            stored = await self.get(Ref("ConfigMap", "kube-proxy", "kube-system"))
            settings = yaml.safe_load(stored["data"]["config.conf"])
            return str(settings.get("mode") or "iptables")
        except (ClusterError, KeyError, AttributeError, TypeError, yaml.YAMLError):
            return "unknown"

    async def images(self) -> Images:
        if self._images is None:
            raise UsageError(f"no image is named for context {self._rest.context}", IMAGE_HINT)
        return self._images

    async def provide(self, need: str) -> str:
        """Only looks: "" when the ability is there, else what is missing and the remedy. Installs nothing."""
        if need == "stop-node":
            return "" if self._node_command else 'give --node-command, such as "ssh {node} sudo poweroff -f"'
        if need == "metrics":
            try:
                await self._json("GET", METRICS, timeout_s=5, retry_s=0)
            except ClusterError as error:
                return f"metrics.k8s.io does not respond ({error.message}); install metrics-server"
            return ""
        if need == "vpa":
            try:
                await self._resource("VerticalPodAutoscaler")
            except NotFound:
                return "there is no kind VerticalPodAutoscaler; install the vertical-pod-autoscaler"
            return ""
        return f"hazd knows no need {need!r}"

    # -- streams -----------------------------------------------------------------------------------------------------
    @asynccontextmanager
    async def watch(self, kind: str, namespace: str) -> AsyncIterator[AsyncIterator[Event]]:
        """See the port. Raises NotFound for an unknown kind and ClusterError when watching it is not allowed."""
        watcher = Watcher(self._rest, await self._resource(kind), namespace)
        async with Feed(f"watch-{kind}", watcher.run, watcher.stop) as feed:
            yield feed

    @asynccontextmanager
    async def logs(self, pod: Ref, container: str = "") -> AsyncIterator[AsyncIterator[str]]:
        """See the port. A container that the kubelet starts again in the same pod is followed on.

        Raises NotFound for no such pod or container, ClusterError (from the iterator) when the end may be missing.
        """
        follower = Follower(self._rest, pod, container)
        async with Feed(f"log-{pod.name}", follower.run, follower.stop) as feed:
            yield feed

    async def pod_request(
        self, pod: Ref, port: int, method: str, path: str, body: bytes = b"", timeout_s: float = 10.0
    ) -> tuple[int, bytes]:
        """One HTTP request to a pod through the API server's proxy: past every Service rule, bytes both ways.

        Limits: the user needs the right to pods/proxy; the API server must reach the pod network; each request costs
        the API server some milliseconds; text/html responses and Location headers are rewritten by it. timeout_s is
        the longest silence between two bytes. Never retried: the caller knows whether it may.
        """
        target = Ref(pod.kind, f"{pod.name}:{port}", pod.namespace)
        at = f"{BUILT_IN['Pod'].object_path(target, 'proxy')}/{path.lstrip('/')}"
        send = functools.partial(self._rest.call, method, at, None, body or None, BYTES, timeout_s)
        response = await anyio.to_thread.run_sync(send, limiter=self._limiter, abandon_on_cancel=True)
        if error := proxy_error(response.status, response.body, pod.name):
            raise error
        return response.status, response.body

    # -- nodes -------------------------------------------------------------------------------------------------------
    async def stop_node(self, name: str) -> None:
        """Run --node-command. Raises NotFound for no such node, ClusterError without a command or when it fails."""
        await self._run_node_command(name, "stop")

    async def start_node(self, name: str) -> None:
        """Run --node-command with {action} = start. Raises ClusterError when the command knows only how to stop."""
        await self._run_node_command(name, "start")

    async def _run_node_command(self, name: str, action: str) -> None:
        await self.get(Ref("Node", name))
        if self._node_command is None:
            raise ClusterError(
                f"hazd cannot {action} node {name} of context {self._rest.context}",
                'give --node-command, such as "ssh {node} sudo poweroff -f", or use --cluster kind',
            )
        if action == "start" and "{action}" not in self._node_command:
            raise ClusterError(
                f"node {name} was stopped by --node-command and must be started by hand",
                "a --node-command with {action} can do both: it is called with stop and with start",
            )
        command = self._node_command.replace("{node}", shlex.quote(name)).replace("{action}", action)
        try:
            await run(["sh", "-c", command], timeout_s=NODE_COMMAND_S)
        except EnvironmentProblem as error:
            raise ClusterError(f"--node-command failed for node {name}: {error.message}", error.hint) from error


__all__ = ["KubeCluster"]
