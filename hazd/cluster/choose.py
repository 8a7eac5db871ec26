"""Which cluster `--cluster` means, and why: the one place that knows all implementations of the port.

Nothing is created for `auto` before it is decided, and no kubeconfig context is touched unless it is named or is
hazd's own kind cluster. Implementations are imported only when they are chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hazd.cluster.port import Cluster, Images
from hazd.errors import EnvironmentProblem, UsageError

SPECS = "kind, lab, lab:OPTION=SECONDS,..., auto or context:NAME"


def _silent(text: str) -> None:
    return


async def open_cluster(
    spec: str = "auto",
    *,
    progress: Callable[[str], None] = _silent,
    lab: Mapping[str, Any] | None = None,
    kubeconfig: str | None = None,
    image: str | None = None,
    node_command: str | None = None,
) -> tuple[Cluster, str]:
    """The cluster, not yet entered, and one line that says which it is and why.

    kind is created when it is absent. lab: LabCluster's own options. kubeconfig, image, node_command: for contexts
    only (see KubeCluster). Raises UsageError for a spec that means nothing or an option that does not fit it, and
    EnvironmentProblem for a cluster that this machine cannot have.
    """
    problems = spec_problems(spec, image=image, node_command=node_command)
    if problems:
        raise UsageError("\n".join(problems))
    name = spec.removeprefix("context:") if spec.startswith("context:") else ""
    if spec.startswith("lab:"):
        from hazd.cluster.lab.options import parse_options

        spec, lab = "lab", {**parse_options(spec.removeprefix("lab:")), **(lab or {})}
    if name:
        from hazd.cluster.kube.cluster import KubeCluster

        images = None if image is None else images_from(image)
        cluster = KubeCluster(name, kubeconfig, images=images, node_command=node_command)
        return cluster, f"kubeconfig context {name}, because --cluster names it"
    if spec == "kind":
        return await _kind(progress), "hazd's kind cluster, because --cluster names it"
    if spec == "lab":
        return _lab(lab), "the lab (an emulation in network namespaces), because --cluster names it"
    return await _auto(progress, lab)


def spec_problems(spec: str, *, image: str | None = None, node_command: str | None = None) -> list[str]:
    """What is wrong with --cluster and the options that only contexts take, a line each; nothing is opened."""
    from hazd.cluster.lab.options import parse_options

    kind, _, rest = spec.partition(":")
    found: list[str] = []
    readers: tuple[tuple[str | None, Callable[[str], object]], ...] = (
        (rest if kind == "lab" else None, parse_options),
        (image, images_from),
    )
    for value, read in readers:
        try:
            if value is not None:
                read(value)
        except UsageError as error:
            found.append(f"{error.message}; right is {error.hint}")
    if spec not in ("kind", "lab", "auto") and not (kind in ("lab", "context") and rest):
        found.append(f"--cluster: {spec!r} is not one of {SPECS}")
    if kind != "context":
        for option, value in (("--image", image), ("--node-command", node_command)):
            if value is not None:
                found.append(f"{option}: {value!r} does not fit --cluster {spec}; it is for --cluster context:NAME")
    elif node_command is not None and "{node}" not in node_command:
        found.append(f"--node-command: {node_command!r} lacks {{node}}, as in 'ssh {{node}} sudo poweroff -f'")
    return found


async def _auto(progress: Callable[[str], None], lab: Mapping[str, Any] | None) -> tuple[Cluster, str]:
    """A running kind cluster of hazd's, else kind where it is up within a minute or two, else the lab, else kind.

    A newcomer's first command must not turn into a quarter of an hour of compiling (docs/adr/0010).
    """
    from hazd.cluster.kind import lifecycle as kind
    from hazd.cluster.lab import lab_problem

    slow = None
    try:
        if await kind.running():
            return await _kind(progress), "hazd's kind cluster, because it is running"
        lacking = await kind.why_not_usable()
        slow = None if lacking else await kind.why_not_quick()
    except EnvironmentProblem as problem:
        lacking = problem.message
    if not lacking and not slow:
        return await _kind(progress), "hazd's kind cluster, because Docker and kind answer"
    lab_lacks = lab_problem()
    if lab_lacks is None:
        why = f"kind cannot be used: {lacking}" if lacking else f"a kind cluster is not at hand: {slow}"
        return _lab(lab), f"the lab (an emulation in network namespaces), because {why}"
    if not lacking:
        return await _kind(progress), f"hazd's kind cluster, because the lab cannot be used: {lab_lacks.message}"
    raise EnvironmentProblem(
        f"neither kind nor the lab can be used here: {lacking}; {lab_lacks.message}",
        f"for kind: `hazd doctor`; for the lab: {lab_lacks.hint}",
    )


async def _kind(progress: Callable[[str], None]) -> Cluster:
    from hazd.cluster.kind import lifecycle as kind

    if not await kind.running():
        await kind.create(progress=progress)
    from hazd.cluster.kind.cluster import KindCluster

    cluster: Cluster = KindCluster(progress=progress)
    return cluster


def _lab(options: Mapping[str, Any] | None) -> Cluster:
    from hazd.cluster.lab import LabCluster

    cluster: Cluster = LabCluster(**(options or {}))
    return cluster


def images_from(reference: str) -> Images:
    """`--image NAME:TAG` or `--image NAME:TAG,NAME:TAG2`: the second is what a rolling update changes to.

    With one reference the second is NAME:TAG-next, or NAME:X-b for NAME:X-a as hazd itself tags the image that it
    builds. The worker runs from the first.
    """
    first, comma, second = reference.partition(",")
    path, colon, tag = first.rpartition(":")
    if not colon or "/" in tag or not tag or not path or "@" in first or (comma and not second):
        raise UsageError(f"--image: {reference!r} is not NAME:TAG", "NAME:TAG, or two of them, NAME:TAG,NAME:TAG2")
    if second == first:
        raise UsageError(
            f"--image: {reference!r} names one tag twice",
            "NAME:TAG,NAME:TAG2: a rolling update needs both",
        )
    following = f"{first[:-2]}-b" if first.endswith("-a") else f"{first}-next"
    return Images(app=first, app_next=second or following, worker=first)


__all__ = ["SPECS", "images_from", "open_cluster", "spec_problems"]
