"""What hazd can add to its own kind cluster beyond plain Kubernetes: metrics-server and the Vertical Pod Autoscaler."""

from __future__ import annotations

from hazd.cluster.addons.install import ensure_metrics_server, ensure_vpa

__all__ = ["ensure_metrics_server", "ensure_vpa"]
