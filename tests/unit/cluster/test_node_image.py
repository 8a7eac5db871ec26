"""The node image's recipe, its archive of component images, and where Debian packages come from."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from hazd.cluster.node_image import archive, recipe, steps

DEB822 = """Types: deb
# http://snapshot.example/archive/debian/20250520T000000Z
URIs: {uri}
Suites: bookworm bookworm-updates
Components: main
"""


@pytest.mark.parametrize(
    ("text", "mirror"),
    [
        (DEB822.format(uri="http://deb.example/debian"), "http://deb.example/debian"),
        ("deb [arch=amd64 signed-by=/k.gpg] https://m.example/debian/ bookworm main\n", "https://m.example/debian/"),
        ("# deb http://off.example/debian bookworm main\ndeb http://on.example/debian bookworm main", "http://on.example/debian"),
        ("deb http://deb.example/debian-security bookworm-security main", None),
        ("deb http://archive.example/ubuntu jammy main", None),
        (DEB822.format(uri="mirror+file:/etc/apt/mirrors/debian.list"), "https://cloud.example/debian"),
        ("", None),
    ],
)  # fmt: skip
def test_the_mirror_is_the_one_apt_uses(text: str, mirror: str | None) -> None:
    """Debian's own archive is found in either form of apt's sources; a security, Ubuntu or commented one never is."""
    lists = [("/etc/apt/mirrors/debian.list", "https://cloud.example/debian\n")]
    assert recipe.debian_mirror([text], lists) == mirror


def test_a_given_mirror_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """HAZD_DEBIAN_MIRROR is taken before anything in /etc/apt."""
    monkeypatch.setenv("HAZD_DEBIAN_MIRROR", "http://given.example/debian")
    assert steps.mirror() == "http://given.example/debian"


@pytest.mark.parametrize("content", [b"", b"\0ELF no version in here", b"mod\tk8s.io/kubernetes\tv1.33.0\th1:"])
def test_a_binary_of_another_version_does_not_count(tmp_path: Path, content: bytes) -> None:
    """Only a file with Go's own note of the right module version is taken from the cache."""
    kubelet = recipe.BINARIES[0]
    file = tmp_path / "kubelet"
    assert not kubelet.is_in(file)
    file.write_bytes(content)
    assert not kubelet.is_in(file)
    file.write_bytes(content + f"\tk8s.io/kubernetes\t{recipe.KUBERNETES}\th1:".encode())
    assert kubelet.is_in(file)


def test_every_version_is_the_one_go_mod_asks_for() -> None:
    """The markers looked for in binaries name the versions that the go.mod files build."""
    for binary in recipe.BINARIES:
        text = (recipe.HERE / "go" / binary.folder / "go.mod").read_text()
        module, version, *_ = [*binary.marker.rstrip("\t").split("\t"), ""]
        assert f"{module} {version}".strip() in text, binary.name


def test_the_recipe_covers_every_data_file() -> None:
    """What ends up in the image ships with hazd: scripts, manifests and Go modules are there."""
    names = {str(path.relative_to(recipe.HERE)) for path in recipe.HERE.rglob("*") if path.is_file()}
    assert {"debian-root", "node-setup", "podnet/podnet", "rootfs/usr/local/bin/entrypoint"} <= names
    assert all(f"go/{binary.folder}/go.sum" in names for binary in recipe.BINARIES if binary.name != "pause")
    assert len(recipe.recipe()) == 16


def test_an_archive_holds_each_image_with_its_layers_in_order(tmp_path: Path) -> None:
    """Base below the file, shared layers once, digests those of the layers, the file executable at its place."""
    base, tool, scratch = tmp_path / "base.tar", tmp_path / "tool", tmp_path / "scratch"
    scratch.mkdir()
    with tarfile.open(base, "w") as opened:
        opened.addfile(tarfile.TarInfo("etc"))
    tool.write_bytes(b"#!/bin/sh\n")
    images = [
        archive.Image("example/a:1", tool, entrypoint=True),
        archive.Image("example/b:1", tool, base),
        archive.Image("example/c:1", tool, base),
    ]
    target = tmp_path / "images.tar"
    archive.write_archive(images, target, scratch)
    assert list(scratch.iterdir()) == []
    base_layer = f"{hashlib.sha256(base.read_bytes()).hexdigest()}/layer.tar"
    with tarfile.open(target) as written:
        names = written.getnames()

        def read(name: str) -> bytes:
            member = written.extractfile(name)
            assert member is not None
            return member.read()

        manifest = json.loads(read("manifest.json"))
        assert [entry["RepoTags"] for entry in manifest] == [["example/a:1"], ["example/b:1"], ["example/c:1"]]
        assert names.count(base_layer) == 1
        for entry, image in zip(manifest, images, strict=True):
            config = json.loads(read(entry["Config"]))
            digests = [f"sha256:{hashlib.sha256(read(layer)).hexdigest()}" for layer in entry["Layers"]]
            assert config["rootfs"]["diff_ids"] == digests
            assert (entry["Layers"][0] == base_layer) == (image.base is not None)
            assert config["config"].get("Entrypoint") == (["/usr/local/bin/tool"] if image.entrypoint else None)
            (tmp_path / "layer.tar").write_bytes(read(entry["Layers"][-1]))
            with tarfile.open(tmp_path / "layer.tar") as layer:
                assert layer.getmember("usr/local/bin/tool").mode == 0o755
