"""The lab with `nft` and `ip` hidden: whole runs, judged as ever. Everything it needs comes with pip."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.hazd_command import COMMAND, PATIENT

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="hides /usr/sbin/nft and ip by bind mounts, which only root may do"),
]
HIDE = """
for name in nft ip; do
  for folder in /usr/local/sbin /usr/local/bin /usr/sbin /sbin /usr/bin /bin; do
    [ ! -e $folder/$name ] || [ ! -x $folder/$name ] || mount --bind /dev/null $folder/$name
  done
  if command -v $name && $name --version; then echo "$name is still there" >&2; exit 99; fi
done > /dev/null
exec "$@"
"""


def test_whole_runs_without_nft_and_ip(tmp_path: Path) -> None:
    """A rolling update FAILs without fixes and PASSes with them where neither tool can be started."""
    unshare = shutil.which("unshare", path=os.environ.get("PATH", "") + ":/usr/bin:/bin")
    if unshare is None:
        pytest.skip("unshare (util-linux) is needed to hide the tools")
    args = ("run", "rollout", "--cluster", "lab", "--startup-delay", "1", "--compare", "--warmup", "1", "--settle", "3")
    fixes = ("--with-prestop", "--prestop-seconds", "2", "--with-readiness", "--with-graceful-shutdown")
    command = [*COMMAND, *args, *fixes, *PATIENT, "--json", "--out", str(tmp_path)]
    done = subprocess.run(
        [unshare, "--mount", "sh", "-c", HIDE, "hide", *command], capture_output=True, text=True, timeout=300
    )
    assert done.returncode != 99, done.stderr
    assert done.stdout, done.stderr[-4000:]
    baseline, fixed = json.loads(done.stdout)["trials"]
    assert (baseline["verdict"], fixed["verdict"]) == ("FAIL", "PASS"), done.stderr[-4000:]
    assert baseline["failures"]["refused"] > 0
    assert fixed["requests"]["failed"] == 0
    assert done.returncode == 0
