"""Containers as real processes: process 1, signals, children, output, volumes, hooks, CPU time."""

from __future__ import annotations

import os

import anyio
import pytest

from hazd.cluster.lab import LabCluster, state
from hazd.model import Ref

from .bench import family, listening, own_folders, pod, until

pytestmark = [pytest.mark.lab, pytest.mark.anyio]


async def test_process_one_sees_sigterm_only_with_a_handler(lab: LabCluster) -> None:
    """As in Kubernetes: without a handler it is SIGKILL at the end of the grace (137), with one its own exit code."""
    handler = (
        "import signal,sys,time\nsignal.signal(15,lambda *_:sys.exit(7))\nprint('up',flush=True)\ntime.sleep(99)\n"
    )
    await lab.create(pod("ignores", "import time\nprint('up',flush=True)\ntime.sleep(99)\n"))
    await lab.create(pod("handles", handler))
    codes: dict[str, int] = {}
    async with lab.watch("Pod", "t") as events:
        for name in ("ignores", "handles"):
            async with lab.logs(Ref("Pod", name, "t")) as lines:
                assert await anext(lines) == "up"
            await lab.delete(Ref("Pod", name, "t"))
        with anyio.fail_after(30):
            async for event in events:
                status = (event.detail.get("status", {}).get("containerStatuses") or [{}])[0]
                if event.reason == "DELETED":
                    codes[event.ref.name] = status["state"]["terminated"]["exitCode"]
                if len(codes) == 2:
                    break
    assert codes == {"ignores": 137, "handles": 7}


async def test_a_containers_children_die_with_it(lab: LabCluster) -> None:
    """Its PID namespace ends with its first process, whatever it started and however that hides."""
    code = (
        "import os,subprocess,sys,time\n"
        "subprocess.Popen([sys.executable,'-c','import time;time.sleep(600)'],start_new_session=True)\n"
        "print('up',os.getpid(),flush=True)\ntime.sleep(600)\n"
    )
    await lab.create(pod("family", code))
    async with lab.logs(Ref("Pod", "family", "t")) as lines:
        assert await anext(lines) == "up 1"
    launcher = state.living(next(iter(own_folders())))["launcher"]
    assert family(launcher, b"time.sleep(600)") == 2
    await lab.delete(Ref("Pod", "family", "t"), 0)

    async def none_left() -> bool:
        return family(launcher, b"time.sleep(600)") == 0

    await until("no process of the pod is left", none_left)


async def test_a_log_is_followed_from_the_first_to_the_last_line(lab: LabCluster) -> None:
    """Also the last one without a newline, and of both streams."""
    code = "import sys\nfor n in range(500): print(n)\nprint('err',file=sys.stderr)\nprint('end',end='')\n"
    await lab.create(pod("talk", code, restartPolicy="Never"))
    async with lab.logs(Ref("Pod", "talk", "t")) as lines:
        got = [line async for line in lines]
    assert sorted(got) == sorted([*map(str, range(500)), "err", "end"])


async def test_an_empty_dir_is_where_the_arguments_say(lab: LabCluster) -> None:
    """A mount path in the command leads to a folder of the pod's own; the host's path is not touched."""
    doc = pod("disk", "")
    doc["spec"] |= {"volumes": [{"name": "v", "emptyDir": {}}], "restartPolicy": "Never"}
    code = "import sys;p=sys.argv[1];open(p,'w').write('x');print(open(p).read())"
    doc["spec"]["containers"][0] |= {
        "command": ["python3", "-c", code, "/var/lib/hazd-test/file"],
        "volumeMounts": [{"name": "v", "mountPath": "/var/lib/hazd-test"}],
    }
    await lab.create(doc)
    async with lab.logs(Ref("Pod", "disk", "t")) as lines:
        assert [line async for line in lines] == ["x"]
    assert "hazd-test" not in os.listdir("/var/lib")


async def test_hooks_and_exec_probes_run_beside_the_container(lab: LabCluster) -> None:
    """An exec probe decides readiness; a preStop command that fails is reported."""
    doc = pod("hooked")
    doc["spec"]["containers"][0] |= {
        "readinessProbe": {"exec": {"command": ["sh", "-c", 'test "$POD_NAME" = hooked']}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "exit 3"]}}},
    }
    await lab.create(doc)
    await listening(lab, "hooked")
    await lab.delete(Ref("Pod", "hooked", "t"))

    async def reported() -> bool:
        return "FailedPreStopHook" in {each["reason"] for each in await lab.list("Event", "t")}

    await until("FailedPreStopHook is reported", reported)


async def test_cpu_time_is_the_processes_own(lab: LabCluster) -> None:
    """A pod that spins has used CPU, one that sleeps has not."""
    await lab.create(pod("busy", "while True: pass"))
    await lab.create(pod("idle", "import time; time.sleep(99)"))

    async def spent() -> bool:
        used = {key.split("/")[0]: value for key, value in (await lab.plant.machine.cpu_ns()).items()}
        uids = {name: (await lab.get(Ref("Pod", name, "t")))["metadata"]["uid"] for name in ("busy", "idle")}
        return used.get(uids["busy"], 0) > 0.3e9 and used.get(uids["idle"], 1e9) < 0.3e9

    await until("the CPU time to differ", spent)
