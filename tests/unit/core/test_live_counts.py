"""What the live view is told: the service's requests of all workers, without the control's."""

from __future__ import annotations

from hazd.model import Ref, Stream
from hazd.trial.worker import Worker, count_requests

STREAMS = (Stream("new"), Stream("reused"), Stream("control", url="http://10.0.0.2/"))


def test_the_controls_requests_are_left_out() -> None:
    """Good and failed ones alike; a worker that has said nothing yet counts nothing."""
    parts = [{"ok": 5, "refused": 1}, {"ok": 4, "refused": 0}, {"ok": 3, "refused": 2}]
    statuses = [{"due": 15, "not_sent": 0, "streams": parts}, {"due": 16, "not_sent": 1, "streams": parts}, {}]
    workers = [
        Worker(number, Ref("Pod", f"w-{number}", "n"), "node", status=status) for number, status in enumerate(statuses)
    ]
    assert count_requests(workers, STREAMS) == {
        "ok": 18,
        "failed": 2,
        "by_kind": {"refused": 2},
        "due": 31,
        "not_sent": 1,
    }
