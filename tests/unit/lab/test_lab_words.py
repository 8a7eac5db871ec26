"""Small pure parts: command lines and environments, statuses, messages, folders of labs."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

import hazd.cluster.lab.linux.wire as wire
from hazd.cluster.lab import clean, state
from hazd.cluster.lab.linux.network import mac_of
from hazd.cluster.lab.linux.zygote import _module_of
from hazd.cluster.lab.node.environment import ConfigProblem, argv, environment, expand, field_value, relocate
from hazd.errors import EnvironmentProblem
from hazd.model import Manifest

POD: Manifest = {
    "metadata": {"name": "p", "namespace": "t", "uid": "u", "labels": {"app": "x"}, "annotations": {"a/b": "c"}},
    "spec": {"nodeName": "n"},
}


def test_the_downward_api() -> None:
    """Every fieldRef that manifests use; an unknown one is a config error."""
    paths = {
        "metadata.name": "p",
        "metadata.namespace": "t",
        "metadata.uid": "u",
        "metadata.labels['app']": "x",
        "metadata.annotations['a/b']": "c",
        "spec.nodeName": "n",
        "status.podIP": "1.2.3.4",
        "status.hostIP": "5.6.7.8",
    }
    assert {path: field_value(POD, path, "1.2.3.4", "5.6.7.8") for path in paths} == paths
    with pytest.raises(ConfigProblem, match=r"spec\.nonsense"):
        field_value(POD, "spec.nonsense", "", "")


def test_expansion() -> None:
    """$(NAME) of earlier variables, $$(NAME) unexpanded, unknown names untouched."""
    known = {"A": "1"}
    assert expand("x$(A)y $(B) $$(A)", known) == "x1y $(B) $(A)"
    container = {"command": ["run", "$(A)"], "args": ["--b=$(B)"]}
    assert argv(container, {"A": "1", "B": "2"}) == ["run", "1", "--b=2"]


def test_environment_from_config_maps_and_secrets() -> None:
    """Values, prefixes, base64, optional keys; a missing key is a config error."""
    objects = {
        ("ConfigMap", "c"): {"data": {"K": "v"}},
        ("Secret", "s"): {"data": {"P": "cHc="}},
    }
    container: Manifest = {
        "envFrom": [{"prefix": "X_", "configMapRef": {"name": "c"}}],
        "env": [
            {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "s", "key": "P"}}},
            {"name": "BOTH", "value": "$(X_K)-$(PW)"},
            {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "no", "optional": True}}},
        ],
    }
    got = environment(POD, container, "", "", lambda kind, name: objects.get((kind, name)))
    assert got == {"X_K": "v", "PW": "pw", "BOTH": "v-pw"}
    bad = {"env": [{"name": "Z", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "no"}}}]}
    with pytest.raises(ConfigProblem, match="no key 'no'"):
        environment(POD, bad, "", "", lambda kind, name: objects.get((kind, name)))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/var/lib/x", "/lab/v"),
        ("/var/lib/x/file", "/lab/v/file"),
        ("--dir=/var/lib/x", "--dir=/lab/v"),
        ("a:/var/lib/x:b", "a:/lab/v:b"),
        ("/var/lib/xy", "/var/lib/xy"),
        ("/other/var/lib/x", "/other/var/lib/x"),
    ],
)
def test_mount_paths_become_the_labs_folders(text: str, wanted: str) -> None:
    """Where the path is a whole path, and nowhere else."""
    assert relocate(text, {"/var/lib/x/": Path("/lab/v")}) == wanted


def test_messages_carry_descriptors_and_end_with_the_peer() -> None:
    """A datagram is whole; what came along is open; a closed peer is None; too long is refused here."""
    one, two = wire.pair()
    with one, two, socket.socket() as passed:
        wire.send(one, {"a": ["x" * 50_000]}, (passed.fileno(),))
        got = wire.receive(two)
        assert got is not None
        message, [fd] = got
        assert len(message["a"][0]) == 50_000
        assert os.fstat(fd).st_ino == os.fstat(passed.fileno()).st_ino
        os.close(fd)
        with pytest.raises(ValueError, match="exceeds"):
            wire.send(one, {"a": "x" * 200_000})
        one.close()
        assert wire.receive(two) is None


@pytest.mark.parametrize(
    ("words", "module"),
    [
        (["python3", "-m", "a.b", "--x"], "a.b"),
        (["python3", "-u", "-m", "a.b"], "a.b"),
        (["python3", "script.py"], ""),
        (["sh", "-m", "a.b"], ""),
        (["python3"], ""),
    ],
)
def test_which_commands_are_forked(words: list[str], module: str) -> None:
    """Only `python3 -m MODULE`; everything else is executed."""
    assert _module_of(words) == module


def test_addresses_have_macs_of_their_own() -> None:
    """Locally administered, unicast, one a address."""
    macs = {mac_of(f"10.244.1.{n}") for n in range(2, 200)}
    assert len(macs) == 198
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.anyio
async def test_cleaning_leaves_living_labs_alone(home: Path) -> None:
    """A folder whose hazd lives stays; one whose hazd is another process now, or torn, goes; twice is harmless."""
    mine = state.make()
    dead = state.make()
    (dead / state.OWNER).write_text(f'{{"hazd": [{os.getpid()}, 12345]}}')
    torn = state.make()
    (torn / state.OWNER).write_text('{"hazd": [')
    removed = await clean.clean_lab()
    assert sorted(removed) == sorted(f"files of lab {folder.name}" for folder in (dead, torn))
    assert sorted(state.base().iterdir()) == [mine]
    assert await clean.clean_lab() == []


def test_another_users_folder_is_refused(home: Path) -> None:
    """A link or a file in the way is no place for a lab."""
    (home / "elsewhere").mkdir()
    state.base().symlink_to(home / "elsewhere")
    with pytest.raises(EnvironmentProblem, match="another user"):
        state.make()
