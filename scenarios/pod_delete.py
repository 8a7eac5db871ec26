"""Pods are deleted by hand, one after the other, each only when the one before has been replaced.

A deleted pod ends as in a rolling update, and its replacement starts as in one, so the same fixes cure it. With --force
(grace period 0) the Pod object is gone at once and the kubelet gives the process its minimum of one second: a preStop
hook is cut off there (measured on kind: SIGTERM after 1.0 s of a sleep of 5 s). What nodes send to it after that second
no fix can save: little where they hear of it within one, as much as without preStop where they take longer.
"""

from hazd.scenario import scenario
from hazd.stage import Stage


@scenario(
    "delete pods one by one, --force without grace",
    fixes=("prestop", "readiness", "graceful-shutdown"),
    options={"force": False, "count": 0},
    expects={"terminations": "count", "additions": "count"},
)
async def disrupt(stage: Stage) -> None:
    pods = await stage.pods()
    for pod in pods[: int(stage.options["count"]) or len(pods)]:
        await stage.delete_pod(pod["metadata"]["name"], 0 if stage.options["force"] else None)
        await stage.wait_replaced(pod["metadata"]["name"], stage.trial.replicas)
