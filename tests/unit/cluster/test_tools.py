"""Programs of the host: their output, their end, and that nothing of them outlives a call."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from hazd.cluster.process import alone, beside, docker, find, run
from hazd.errors import EnvironmentProblem

pytestmark = pytest.mark.anyio


def is_over(pid: int) -> bool:
    """Gone, or dead and not yet collected by its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return True


async def end_of(pid: int) -> None:
    """Return once it is over; a signal takes its moment to work."""
    with anyio.fail_after(10):
        while not is_over(pid):
            await anyio.sleep(0.005)


async def test_output_lines_and_exit_code(tmp_path: Path) -> None:
    """Both streams are kept apart, seen line by line, and written to the log."""
    lines: list[str] = []
    script = "echo one; echo two >&2; printf three; exit 3"
    log = tmp_path / "log"
    done = await run(["sh", "-c", script], timeout_s=10, check=False, on_line=lines.append, log=log)
    assert (done.code, done.out, done.err) == (3, "one\nthree", "two\n")
    assert sorted(lines) == ["one", "three", "two"]
    assert sorted(log.read_text().replace("three", "three\n").split()) == ["one", "three", "two"]


async def test_failure_names_command_and_what_it_said() -> None:
    """A failed program is an EnvironmentProblem with its command, exit code and last words."""
    with pytest.raises(EnvironmentProblem) as caught:
        await run(["sh", "-c", "echo wrong >&2; exit 7"], timeout_s=10)
    assert "exit 7" in caught.value.message
    assert caught.value.hint == "wrong"


async def test_an_absent_program_is_named() -> None:
    """No traceback of the operating system for what is not installed."""
    with pytest.raises(EnvironmentProblem, match="no-such-program is not installed"):
        await run(["no-such-program"], timeout_s=10)


async def test_a_time_limit_ends_the_whole_process_group() -> None:
    """What a shell script started ends with it."""
    seen: list[str] = []
    with pytest.raises(EnvironmentProblem, match="did not end within"):
        await run(["sh", "-c", "sleep 60 & echo $!; wait"], timeout_s=1.0, on_line=seen.append)
    await end_of(int(seen[0]))


async def test_cancellation_ends_the_process() -> None:
    """Ctrl-C and its like leave no child behind."""
    seen: list[str] = []
    async with anyio.create_task_group() as tasks:

        def cancel(line: str) -> None:
            seen.append(line)
            tasks.cancel_scope.cancel()

        async def work() -> None:
            await run(["sh", "-c", "echo $$; sleep 60"], timeout_s=50, on_line=cancel)

        tasks.start_soon(work)
    await end_of(int(seen[0]))


async def test_standard_input_arrives() -> None:
    """Bytes given are what the program reads; a program that reads none of them is no error."""
    assert (await run(["cat"], timeout_s=10, stdin=b"hello")).out == "hello"
    assert (await run(["true"], timeout_s=10, stdin=b"x" * 200_000)).code == 0


@pytest.mark.parametrize("said", ["Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?"])
async def test_a_stopped_docker_is_told_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """The one error everybody meets: what it is and how to start Docker, whatever was asked of it."""
    fake = tmp_path / "docker"
    fake.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for check in (True, False):
        with pytest.raises(EnvironmentProblem, match="Docker does not answer") as caught:
            await docker("ps", check=check)
        assert "systemctl start docker" in caught.value.hint


def test_programs_are_found_in_hazds_cache_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kind and kubectl made by hazd need not be on PATH; a file that is not executable is not found."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "hazd" / "node-image" / "bin"
    folder.mkdir(parents=True)
    tool = folder / "a-tool-of-hazd"
    tool.write_text("#!/bin/sh\n")
    assert find(tool.name) is None
    tool.chmod(0o755)
    assert find(tool.name) == str(tool)


async def test_the_second_at_a_lock_waits_and_says_so(tmp_path: Path) -> None:
    """Two creations at once happen one after the other."""
    order: list[str] = []
    inside, waiting = anyio.Event(), anyio.Event()

    async def first() -> None:
        async with alone(tmp_path / "lock", "builds", order.append):
            inside.set()
            await waiting.wait()
            order.append("first")

    def say(text: str) -> None:
        order.append(text)
        waiting.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await inside.wait()
        async with alone(tmp_path / "lock", "builds", say):
            order.append("second")
    assert order == ["another hazd builds; waiting for it", "first", "second"]


async def test_an_error_beside_background_work_leaves_unwrapped() -> None:
    """The body's own error, not a group of one."""
    with pytest.raises(EnvironmentProblem, match="plain"):
        async with beside(anyio.sleep_forever):
            raise EnvironmentProblem("plain")
