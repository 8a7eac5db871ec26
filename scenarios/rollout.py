"""A rolling update: the image tag changes, and every pod is replaced.

With --restart, or where there is no tag to change to, only an annotation changes, as `kubectl rollout restart` does it.

Without fixes both races show: a new pod gets traffic before its app listens (refused), and an old pod's process or
address goes before every node has forgotten it (refused, no route, timeout). Readiness cures the first, preStop with a
graceful shutdown the second, and neither cures the other.
"""

from hazd.scenario import scenario
from hazd.stage import Stage


@scenario(
    "rolling update by image tag, or by restart",
    fixes=("prestop", "readiness", "graceful-shutdown"),
    options={"restart": False},
    expects={"terminations": "replicas", "additions": "replicas"},
)
async def disrupt(stage: Stage) -> None:
    if stage.options["restart"] or not stage.next_image:
        await stage.restart()
    else:
        await stage.set_image()
    await stage.rollout_status()
