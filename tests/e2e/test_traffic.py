"""What traffic can be, from the command line to the verdict: TLS, methods, bodies, headers, HTTP/2, recycling.

In the lab alone: nothing here is the cluster's doing, and the images of the kind lane hold the same code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hazd.journal import read_trial
from tests.e2e.hazd_command import hazd, run_decided

pytestmark = [pytest.mark.usefixtures("lab_possible"), pytest.mark.lab]
SHORT = ("--cluster", "lab", "--rate", "60", "--warmup", "1", "--settle", "1")
ROLLOUT = ("rollout", *SHORT, "--replicas", "2", "--startup-delay", "1", "--with-readiness", "--with-graceful-shutdown")
FIXED = (*ROLLOUT, "--with-prestop", "--prestop-seconds", "2")


def passed(out: Path, *args: str) -> dict[str, Any]:
    """The one trial of a run that must pass; asked again when it answered nothing, as on a machine that stalls."""
    code, summary = run_decided(out, "run", *args)
    (trial,) = summary["trials"]
    assert (code, trial["verdict"], trial["requests"]["failed"]) == (0, "PASS", 0), trial["reasons"]
    assert trial["requests"]["ok"] > 100
    assert trial["accounting"]["reconciled"], trial["accounting"]
    return {**trial, "folder": out / summary["run"] / "trials" / trial["name"]}


@pytest.mark.parametrize("sender", ["httpx", "fast"])
def test_a_rollout_of_a_tls_service_loses_no_post(sender: str, tmp_path: Path) -> None:
    """Verified TLS, a body, a header and a query; the kubelet probes by HTTPS, the app's counts are read back."""
    (tmp_path / "order.json").write_text('{"item": 1}')
    body = ("--method", "POST", "--body", f"@{tmp_path}/order.json", "--header", "Content-Type: application/json")
    request = ("--path", "/orders?a=1", "--expect", "200,201", "--sender", sender)
    trial = passed(tmp_path, *FIXED, "--tls", *body, *request)
    manifests = (trial["folder"] / "manifests.yaml").read_text()
    assert "scheme: HTTPS" in manifests
    assert "LS0t" not in manifests  # a PEM text in base64 begins so: no key is kept in a report


@pytest.mark.parametrize("tls", [(), ("--tls",)])
def test_a_rollout_under_http2_loses_nothing(tls: tuple[str, ...], tmp_path: Path) -> None:
    """By prior knowledge and by ALPN."""
    passed(tmp_path, *FIXED, "--http2", *tls)


def test_connections_that_the_client_recycles_reach_new_pods(tmp_path: Path) -> None:
    """PASS without the fix on the server's side, and no connection carries more requests than were allowed."""
    recycle = ("--connection", "reused", "--recycle-connections-after", "20")
    hold = ("--with-readiness", "--pool", "4", "--set", "hold_s=8")
    trial = passed(tmp_path, "keepalive-scale-out", *SHORT, *recycle, *hold)
    assert "recycle" not in trial["fixes"]
    samples = read_trial(trial["folder"]).samples
    kept = samples[samples["stream"] == "reused"]
    assert int(np.unique(kept["conn"], return_counts=True)[1].max()) == 20


def test_bad_options_touch_nothing(tmp_path: Path) -> None:
    """Exit code 2, every problem on a line of its own, and not even the run's folder is made."""
    wrong = ("--path", "x", "--header", "nothing", "--body", "@/nowhere", "--expect", "ok", "--insecure", "--pool", "0")
    done = hazd("run", "rollout", *wrong, "--out", str(tmp_path), "--name", "none")
    assert done.returncode == 2
    for name in ("--path", "--header", "--body", "--expect", "--insecure", "--pool"):
        assert sum(line.removeprefix("error: ").startswith(f"{name}:") for line in done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    assert done.stdout == ""
