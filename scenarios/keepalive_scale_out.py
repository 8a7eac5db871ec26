"""Clients keep their connections open while the service is scaled out from N to 3N.

kube-proxy chooses a pod when a connection is opened, never again, so the pods that the scale-out added get no requests
from clients that are already connected: their share stays near 0 however long one waits. Recycling a connection after
N requests (`Connection: close`) makes the shares even within seconds; no probe and no preStop hook can.
"""

from hazd.fixes import FixSettings
from hazd.scenario import scenario
from hazd.stage import Stage


@scenario(
    "scale out under persistent connections",
    fixes=("recycle", "readiness"),
    replicas=2,
    options={"factor": 3, "hold_s": 15.0},
    least={"factor": 2},
    expects=("additions",),
    streams=("reused",),
    fix_settings=FixSettings(recycle_after=20),
    even_shares=True,
    sample_only="only its responses name the pod that gave them",
)
async def disrupt(stage: Stage) -> None:
    await stage.scale(stage.trial.replicas * int(stage.options["factor"]))
    await stage.sleep(float(stage.options["hold_s"]))
