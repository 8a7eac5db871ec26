"""A lab touches nothing of its host and leaves nothing: in order, after an error, after kill -9, without rights."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from hazd.cluster.lab import LabCluster, clean_lab, state

from .bench import FAST, SOURCE, family, listening, own_folders, pod, until

pytestmark = [pytest.mark.lab, pytest.mark.anyio]


UNTOUCHED = """
import anyio, os
from hazd.cluster.lab import LabCluster
from hazd.cluster.lab.linux.launch import privileged
from hazd.cluster.lab.linux.netlink import Connection, message
from hazd.cluster.lab.linux.syscalls import CLONE_NEWNET, CLONE_NEWUSER, unshare
from tests.e2e.lab.bench import FAST, listening, pod
from tests.e2e.lab.test_lab_ends import namespaces_of

uid = os.geteuid()
unshare(CLONE_NEWNET if privileged() else CLONE_NEWNET | CLONE_NEWUSER)
if not privileged():
    open("/proc/self/setgroups", "w").write("deny")
    open("/proc/self/uid_map", "w").write(f"0 {uid} 1")

def seen():
    links = [line.split(":")[0] for line in open("/proc/net/dev")]
    # NFT_MSG_GETGEN: the number of changes of rules so far
    generation = Connection(12).exchange(message(10 << 8 | 16, 0, 1, bytes(4)))
    assert generation
    return links, open("/proc/net/fib_trie").read(), open("/proc/net/route").read(), generation

async def main():
    before = seen()
    async with LabCluster(FAST) as lab:
        await lab.create({"kind": "Namespace", "metadata": {"name": "t"}})
        await lab.create(pod("one"))
        await listening(lab, "one")
        assert seen() == before
        namespaces = namespaces_of(lab.plant.machine.process.pid)
        assert len(namespaces) >= 2, namespaces
        assert os.readlink("/proc/self/ns/net") not in namespaces
    assert seen() == before

anyio.run(main)
"""


def namespaces_of(root: int) -> set[str]:
    """Network namespaces of a process and its descendants."""
    found, waiting = set(), [root]
    while waiting:
        pid = waiting.pop()
        found.add(os.readlink(f"/proc/{pid}/ns/net"))
        waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return found


async def test_the_callers_own_network_is_never_touched() -> None:
    """Links, addresses, routes and rules where hazd runs stay as they are, and nobody of the lab is there.

    In a namespace of the test's own, because on a shared machine others change the real one meanwhile.
    """
    environ = {**os.environ, "PYTHONPATH": SOURCE, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    command = [sys.executable, "-c", UNTOUCHED]
    done = await anyio.to_thread.run_sync(
        lambda: subprocess.run(command, capture_output=True, text=True, env=environ, timeout=120)
    )
    assert done.returncode == 0, done.stderr


async def test_nothing_is_left_after_a_lab() -> None:
    """No process and no file, also after an error inside it."""
    seen: list[tuple[Path, int]] = []

    async def fail_inside() -> None:
        async with LabCluster(FAST) as lab:
            await lab.create({"kind": "Namespace", "metadata": {"name": "t"}})
            await lab.create(pod("one"))
            await listening(lab, "one")
            [folder] = own_folders()
            seen.append((folder, state.living(folder)["launcher"]))
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        await fail_inside()
    [(folder, launcher)] = seen
    assert state.start_time(launcher) is None
    assert folder not in state.base().glob("*")


KILLED = """
import anyio, json, sys
from hazd.cluster.lab import LabCluster, LabOptions, state
from tests.e2e.lab.bench import FAST, pod, listening

async def main():
    async with LabCluster(FAST) as lab:
        await lab.create({"kind": "Namespace", "metadata": {"name": "t"}})
        await lab.create(pod("one"))
        await listening(lab, "one")
        folder = lab.plant.folder
        print(json.dumps([str(folder), state.living(folder)["launcher"]]), flush=True)
        await anyio.sleep(600)

anyio.run(main)
"""


async def test_kill_minus_nine_leaves_nothing_that_lives() -> None:
    """hazd is killed: the kernel ends every process of the lab; `clean_lab` removes the files and says so."""
    environ = {**os.environ, "PYTHONPATH": SOURCE}
    with subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", KILLED], stdout=subprocess.PIPE, env=environ
    ) as victim:
        assert victim.stdout is not None
        folder, launcher = json.loads(await anyio.to_thread.run_sync(victim.stdout.readline))
        assert family(launcher, b"create_server") == 1
        assert Path(folder).name not in " ".join(await clean_lab())
        victim.send_signal(signal.SIGKILL)
        victim.wait()

    async def ended() -> bool:
        return state.start_time(launcher) is None

    await until("the launcher ends", ended)
    assert f"files of lab {Path(folder).name}" in await clean_lab()
    assert Path(folder).name not in os.listdir(state.base())


def _drop_sys_admin() -> None:
    """In a child before exec: root without CAP_SYS_ADMIN, as in most containers."""
    import ctypes

    assert ctypes.CDLL(None).prctl(24, 21, 0, 0, 0) == 0  # PR_CAPBSET_DROP, CAP_SYS_ADMIN


def _nobodys_python() -> tuple[str, str]:
    """An interpreter that `nobody` may start, and the path that has what the lab imports."""
    site = str(Path(anyio.__file__).parent.parent)
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        check = [python, "-c", "import hazd.clock, anyio, h11"]
        try:
            done = subprocess.run(check, env={"PYTHONPATH": f"{SOURCE}:{site}"}, user="nobody", capture_output=True)
        except OSError:
            continue
        if done.returncode == 0:
            return python, f"{SOURCE}:{site}"
    pytest.skip("no interpreter here that an ordinary user may start")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up rights that only root has; others run the whole suite without")
@pytest.mark.parametrize("who", ["root-without-sys-admin", "nobody"])
async def test_without_rights_there_is_a_lab_in_a_user_namespace(tmp_path: Path, who: str) -> None:
    """The same service, the same errno; everything is the caller's own and gone afterwards."""
    code = KILLED.replace("await anyio.sleep(600)", "print(json.dumps(await ask(lab, 'x-worker', '10.244.1.77')))")
    code = code.replace("FAST, pod, listening", "FAST, pod, listening, ask")
    python, path = _nobodys_python() if who == "nobody" else (sys.executable, SOURCE)
    options: dict[str, Any] = {"preexec_fn": _drop_sys_admin}
    if who == "nobody":
        user = pwd.getpwnam("nobody")
        options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        os.chown(tmp_path, user.pw_uid, user.pw_gid)
        for parent in (tmp_path.parent, tmp_path.parent.parent):
            parent.chmod(parent.stat().st_mode | 0o011)
    environ = {"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [python, "-c", code]
    done = await anyio.to_thread.run_sync(
        lambda: subprocess.run(command, capture_output=True, text=True, env=environ, cwd="/", timeout=120, **options)
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert json.loads(second) == "EHOSTUNREACH"
    assert str(json.loads(first)[0]).startswith(str(tmp_path))
    assert [name for each in os.listdir(tmp_path) for name in os.listdir(tmp_path / each)] == []


FORBIDDEN = """
import ctypes, os, sys
from hazd.cluster.lab.linux.syscalls import CLONE_NEWUSER, unshare

uid = os.geteuid()
unshare(CLONE_NEWUSER)
open("/proc/self/setgroups", "w").write("deny")
open("/proc/self/uid_map", "w").write(f"0 {uid} 1")
open("/proc/sys/user/max_user_namespaces", "w").write("0")
assert ctypes.CDLL(None).prctl(24, 21, 0, 0, 0) == 0  # no CAP_SYS_ADMIN after exec
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""
REFUSED = """
import anyio
from hazd.cluster.lab import LabCluster, lab_problem
from hazd.errors import EnvironmentProblem

async def main():
    try:
        async with LabCluster():
            print("a lab")
    except EnvironmentProblem as problem:
        print(problem.message, "|", problem.hint)

print(lab_problem().message)
anyio.run(main)
"""


async def test_where_namespaces_are_forbidden_the_remedy_is_named(tmp_path: Path) -> None:
    """One clear error from the check and from the lab itself, and no file left."""
    environ = {**os.environ, "PYTHONPATH": SOURCE, "TMPDIR": str(tmp_path)}
    done = await anyio.to_thread.run_sync(
        lambda: subprocess.run(
            [sys.executable, "-c", FORBIDDEN, REFUSED], capture_output=True, text=True, env=environ, timeout=60
        )
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("the lab cannot make namespaces")
    assert "cannot make its namespaces" in second
    assert "sysctl" in second
    assert "--cluster kind" in second
    assert [name for each in os.listdir(tmp_path) for name in os.listdir(tmp_path / each)] == []
