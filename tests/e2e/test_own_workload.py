"""The user's own workload in place of the sample app: Python's own web server, slow to start, ignoring SIGTERM."""

from __future__ import annotations

import subprocess
from pathlib import Path

import anyio
import pytest

from hazd.cluster.kind import state
from hazd.cluster.kind.cluster import KindCluster
from hazd.cluster.port import Images
from hazd.journal import read_trial
from tests.e2e.hazd_command import hazd, run_decided

SHOP = """
{{apiVersion: v1, kind: Namespace, metadata: {{name: shop}}}}
---
{{apiVersion: v1, kind: ConfigMap, metadata: {{name: pages, namespace: shop}}, data: {{index.html: "hello"}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: shop, namespace: shop}}
spec:
  replicas: 3
  selector: {{matchLabels: {{name: shop}}}}
  template:
    metadata: {{labels: {{name: shop}}}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: web
        image: {image}
        command: [sh, -c, "sleep 2; exec python3 -m http.server 8000 --directory /pages"]
        ports: [{{containerPort: 8000}}]
        volumeMounts: [{{name: pages, mountPath: /pages}}]
      volumes: [{{name: pages, configMap: {{name: pages}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: shop, namespace: shop}}
spec: {{type: NodePort, selector: {{name: shop}}, ports: [{{port: 8080, targetPort: 8000, nodePort: 30123}}]}}
"""


@pytest.fixture
def images(kind_cluster: None) -> Images:
    async def look() -> Images:
        async with KindCluster() as cluster:
            return await cluster.images()

    return anyio.run(look)


@pytest.mark.kind
def test_its_rolling_update_loses_requests_and_with_the_fixes_none(images: Images, tmp_path: Path) -> None:
    """Both images are on the nodes; the kernel names the pod of each failure, which no response does."""
    (tmp_path / "shop.yaml").write_text(SHOP.format(image=images.app))
    args = ("run", "rollout", "--workload", str(tmp_path / "shop.yaml"), "--next-image", images.app_next)
    _, summary = run_decided(
        tmp_path, *args, "--with-all", "--compare", "--cluster", "kind", "--rate", "100", "--connection", "new"
    )
    bare, fixed = summary["trials"]
    assert bare["verdict"] == "FAIL", bare["reasons"]
    assert bare["failures"]["refused"] > 0
    assert bare["attributed"] >= 0.95 * bare["requests"]["failed"], bare["causes"]
    assert bare["failures_known"]["inferred"] == 0, bare["failures_known"]
    assert "not_listening_yet" in {cause["rule"] for cause in bare["causes"]}
    assert bare["accounting"]["reconciled"] is None
    assert bare["propagation_ms"]["removal"]["n"] > 0
    assert fixed["fixes"] == ["prestop", "readiness"]
    assert fixed["verdict"] == "PASS", (fixed["reasons"], fixed["causes"])
    record = read_trial(tmp_path / summary["run"] / "trials" / fixed["name"])
    assert "set-image" in {event.reason for event in record.events if event.source == "stage"}
    left = ["docker", "exec", f"{state.NAME}-control-plane", "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"]
    spaces = subprocess.run([*left, "get", "ns", "-o", "name"], capture_output=True, text=True, check=True).stdout
    assert "namespace/shop" not in spaces
    assert "rollout" not in spaces


@pytest.mark.kind
def test_an_image_that_no_node_has_ends_the_run_with_the_kubelets_words(kind_cluster: None, tmp_path: Path) -> None:
    """Exit code 3 within minutes, and nothing stays."""
    text = SHOP.format(image="example.invalid/shop:1\n        imagePullPolicy: Never")
    (tmp_path / "shop.yaml").write_text(text)
    done = hazd(
        "run", "rollout", "--workload", str(tmp_path / "shop.yaml"), "--cluster", "kind", "--out", str(tmp_path / "out")
    )
    assert done.returncode == 3
    assert "container web of pod shop-" in done.stderr
    assert "ErrImageNeverPull" in done.stderr
