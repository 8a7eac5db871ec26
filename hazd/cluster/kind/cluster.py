"""hazd's own kind cluster behind the port: a context whose images are built here and whose nodes are containers.

It must not create or delete the cluster: that is lifecycle.py's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Self

from hazd.cluster.kind import images as container
from hazd.cluster.kind.power import power_off, power_on
from hazd.cluster.kind.state import NAME, context_name, kubeconfig_path, nodes
from hazd.cluster.kube.cluster import KubeCluster
from hazd.cluster.port import Images
from hazd.cluster.process import Say, alone, docker, silent, state_dir
from hazd.errors import ClusterError, EnvironmentProblem, NotFound

CONTROL_PLANE_SHARES = 8192
"""CPU weight of the control plane's container; Docker's default, which the other nodes keep, is 1024."""


class KindCluster(KubeCluster):
    """The port over hazd's own kind cluster: its images are built and loaded here, its nodes are containers.

    Raises UsageError at once when there is no kubeconfig of it: `create` first.
    """

    def __init__(self, name: str = NAME, progress: Say = silent) -> None:
        super().__init__(context_name(name), str(kubeconfig_path(name)), "kind")
        self._name = name
        self._say = progress
        self._built: Images | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        # The traffic workers live on the control plane. All nodes share this machine's cores, and a generator that
        # waits behind the pods it measures is late: measured at 300/s on 2 cores, p99 lateness 33 to 115 ms with equal
        # shares, 7 to 20 ms with these.
        control = [node.name for node in await nodes(self._name) if node.role == "control-plane"]
        await docker("update", "--cpu-shares", str(CONTROL_PLANE_SHARES), *control, check=False)
        return self

    async def images(self) -> Images:
        """Build and load what is missing. Raises EnvironmentProblem."""
        if self._built is None:
            images = await container.build(self._say)
            alive = [node.name for node in await nodes(self._name) if node.state == "running"]
            await container.load(images, self._name, alive, self._say)
            self._built = images
        return self._built

    async def provide(self, need: str) -> str:
        """Installs metrics-server or the vertical-pod-autoscaler when they are absent; what cannot be had is said."""
        from hazd.cluster.addons import ensure_metrics_server, ensure_vpa

        if need == "stop-node":
            return ""
        if need not in ("metrics", "vpa"):
            return await super().provide(need)
        try:
            control = next(node.name for node in await nodes(self._name) if node.role == "control-plane")
            async with alone(state_dir() / f"kind-{self._name}-addons.lock", "installs add-ons", self._say):
                await (ensure_vpa if need == "vpa" else ensure_metrics_server)(self, control, self._say)
        except (EnvironmentProblem, ClusterError) as error:
            return f"{error.message}; {error.hint}" if error.hint else error.message
        return ""

    async def stop_node(self, name: str) -> None:
        """Kill the node's container: its processes and its network are gone at once. Raises NotFound, ClusterError."""
        await self._power(power_off, name)

    async def start_node(self, name: str) -> None:
        """Start the node's container; idempotent. Raises NotFound, ClusterError."""
        await self._power(power_on, name)

    async def _power(self, act: Callable[[Sequence[str]], Awaitable[None]], name: str) -> None:
        try:
            if name not in [node.name for node in await nodes(self._name)]:
                raise NotFound(f"the kind cluster {self._name} has no node {name}")
            await act([name])
        except EnvironmentProblem as error:
            raise ClusterError(f"node {name}: {error.message}", error.hint) from error


__all__ = ["KindCluster"]
