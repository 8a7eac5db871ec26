"""Manual scaling through the scale subresource: N replicas, M, and N again.

Scaling out adds pods that are not listening yet (refused, cured by readiness); scaling in ends pods that nodes still
send to (refused, no route, timeouts, cured by preStop with a graceful shutdown).
"""

from hazd.scenario import scenario
from hazd.stage import Stage


@scenario(
    "scale out to --set to=M (default 2N) and in again",
    fixes=("prestop", "readiness", "graceful-shutdown"),
    options={"to": 0, "hold_s": 4.0},
    expects=("terminations", "additions"),
)
async def disrupt(stage: Stage) -> None:
    before = stage.trial.replicas
    await stage.scale(int(stage.options["to"]) or 2 * before)
    await stage.sleep(float(stage.options["hold_s"]))
    await stage.scale(before)
