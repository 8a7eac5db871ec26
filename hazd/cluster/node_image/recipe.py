"""What hazd's own kind node image is made of: versions, file names, Debian packages, and one hash over all of it.

PURE but for reading the files beside it. Kubernetes stays at 1.34 because from 1.35 on the kubelet refuses to start on
cgroup v1 unless told otherwise (KEP-5573), and kind's nodes must come up on either.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
KUBERNETES = "v1.34.4"
DEBIAN = "bookworm"
NODE_IMAGE = f"kindest/node:{KUBERNETES}"
BASE_IMAGE = f"debian-python:{DEBIAN}"
ROOTFS_IMAGE = f"hazd/node-rootfs:{DEBIAN}"
RECIPE_LABEL = "hazd.dev/recipe"
COMPONENTS = "registry.k8s.io"  # the names kubeadm gives its images; nothing is pulled from there


@dataclass(frozen=True, slots=True)
class Binary:
    """One Go program: built in `folder` from `package`; `marker` is what Go writes of the version into the file."""

    name: str
    folder: str
    package: str
    marker: str
    minutes: float = 0.5

    def is_in(self, file: Path) -> bool:
        """Whether this file is this program in this version (Go's build information is text inside the binary)."""
        import mmap

        try:
            with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return content.find(self.marker.encode()) >= 0
        except (OSError, ValueError):  # absent, or empty and so not to be mapped
            return False


def _kubernetes(name: str, minutes: float) -> Binary:
    return Binary(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", f"k8s.io/kubernetes\t{KUBERNETES}\t", minutes)


BINARIES: tuple[Binary, ...] = (
    _kubernetes("kubelet", 6.0),
    _kubernetes("kubeadm", 1.0),
    _kubernetes("kubectl", 0.5),
    _kubernetes("kube-proxy", 0.3),
    _kubernetes("kube-apiserver", 1.5),
    _kubernetes("kube-controller-manager", 1.0),
    _kubernetes("kube-scheduler", 0.3),
    Binary("etcd", "etcd", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3\tv3.6.5\t"),
    Binary("coredns", "coredns", ".", "github.com/coredns/coredns\tv1.14.7\t"),
    Binary("pause", "pause", ".", "kindnode/pause\t", 0.1),
)


@dataclass(frozen=True, slots=True)
class Root:
    """A minimal Debian with these packages, kept in the cache as NAME.tar."""

    name: str
    packages: tuple[str, ...]


_BOTH = "iptables nftables conntrack iproute2 kmod jq curl ca-certificates iputils-ping"
PYTHON_ROOT = Root("python-base", tuple(f"{_BOTH} python3 python3-venv".split()))
NODE_ROOT = Root(
    "node-base",
    tuple(
        f"{_BOTH} systemd systemd-sysv dbus containerd runc containernetworking-plugins ethtool util-linux mount "
        "libseccomp2 procps bash socat".split()
    ),
)


@dataclass(frozen=True, slots=True)
class Component:
    """An image the nodes start without pulling: one file in /usr/local/bin, over nothing or over the Python base."""

    image: str
    file: str
    over_base: bool = False
    entrypoint: bool = False


def components(own: Path = HERE) -> tuple[Component, ...]:
    """kubeadm 1.34's images by the names it asks for, and the pod network; `file` is in bin/ unless it has a folder."""
    control = tuple(
        Component(f"{COMPONENTS}/{name}:{KUBERNETES}", name)
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    )
    return (
        *control,
        Component(f"{COMPONENTS}/kube-proxy:{KUBERNETES}", "kube-proxy", over_base=True),
        Component(f"{COMPONENTS}/etcd:3.6.5-0", "etcd"),
        Component(f"{COMPONENTS}/coredns/coredns:v1.12.1", "coredns", entrypoint=True),
        Component(f"{COMPONENTS}/pause:3.10", "pause", entrypoint=True),
        Component("localhost/podnet:1", str(own / "podnet" / "podnet"), over_base=True, entrypoint=True),
    )


def _digest(parts: Iterable[bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:16]


@functools.cache
def recipe() -> str:
    """Changes when anything that ends up in the node image does: the files that are no Python, and the lists above."""
    files = sorted(path for path in HERE.rglob("*") if path.is_file() and path.suffix not in (".pyc", ".py"))
    lists = repr((BINARIES, PYTHON_ROOT, NODE_ROOT, [component.image for component in components(HERE)], DEBIAN))
    contents = (part for path in files for part in (str(path.relative_to(HERE)).encode(), path.read_bytes()))
    return _digest([lists.encode(), *contents])


def root_recipe(root: Root) -> str:
    return _digest([DEBIAN.encode(), *(name.encode() for name in sorted(root.packages))])


def debian_mirror(texts: Iterable[str], files: Iterable[tuple[str, str]] = ()) -> str | None:
    """The Debian archive this system's own apt uses, from the texts of its sources (one-line and deb822, apt's
    sources.list(5)). A source counts when it offers `main` of Debian itself, that is when its path ends in /debian.

    files: (path, content) of mirror lists that `mirror+file:` sources name.
    """
    lists = dict(files)
    for text in texts:
        for line in text.splitlines():
            match = re.match(r"\s*(?:URIs:|deb\s+(?:\[[^]]*\]\s+)?)\s*(\S.*)", line, re.IGNORECASE)
            if not match:
                continue
            for word in match[1].split():
                uris = [word]
                if word.startswith("mirror+file:"):
                    uris = lists.get(word.removeprefix("mirror+file:"), "").split()
                for uri in uris:
                    if re.match(r"(https?|file)://", uri) and uri.rstrip("/").endswith("/debian"):
                        return uri
    return None


__all__ = [
    "BASE_IMAGE", "BINARIES", "DEBIAN", "HERE", "KUBERNETES", "NODE_IMAGE", "NODE_ROOT", "PYTHON_ROOT", "RECIPE_LABEL",
    "ROOTFS_IMAGE", "Binary", "Component", "Root", "components", "debian_mirror", "recipe", "root_recipe",
]  # fmt: skip
