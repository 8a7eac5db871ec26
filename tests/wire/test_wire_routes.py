"""Addresses that lead nowhere: the kernel's own answers, in a network namespace of our own."""

from __future__ import annotations

import errno as e
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
@pytest.mark.skipif(shutil.which("ip") is None, reason="the routes are made with ip(8) of iproute2, which is missing")
def test_no_route(sender: str, tmp_path: Path) -> None:
    """unreachable, prohibit, blackhole and no route at all have errnos of their own and one kind."""
    path = os.pathsep.join((str(TESTS), str(TESTS.parent)))
    child = subprocess.run(
        [sys.executable, "-m", "wire.route_child", sender, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "Operation not permitted" in child.stderr:
        pytest.skip("this root may not make network namespaces")
    assert child.returncode == 0, child.stderr
    expected = {
        "unreachable": e.EHOSTUNREACH,
        "prohibit": e.EACCES,
        "blackhole": e.EINVAL,
        "none": e.ENETUNREACH,
    }
    assert json.loads(child.stdout) == {name: ["no_route", "connect", number] for name, number in expected.items()}
