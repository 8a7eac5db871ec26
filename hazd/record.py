"""The 64 bytes a worker keeps of each request, the same on every machine: the seam between worker and journal.

Only the standard library is used, so the worker's container needs nothing for it; the journal reads the same layout
with NumPy through DTYPE_FIELDS.
"""

from __future__ import annotations

import struct

FIELDS: tuple[tuple[str, str], ...] = (
    ("seq", "I"),  # number of the due time in the whole schedule, all workers together
    ("stream", "B"),  # index into the plan's streams
    ("connection", "B"),  # model.Connection
    ("kind", "B"),  # model.FailureKind
    ("phase", "B"),  # model.Phase
    ("status", "H"),  # HTTP status, 0 when none came
    ("errno", "H"),  # the kernel's errno, 0 when none was to be had
    ("pod", "H"),  # index into the worker's list of pod names, 0 = nobody answered
    ("local_port", "H"),  # the client's source port, 0 when there was no socket
    ("due_ns", "q"),  # when it ought to be sent, ns since the Unix epoch
    ("sent_ns", "q"),  # when work on it began (connect for a new connection, write for a reused one)
    ("connected_ns", "q"),  # when the connection stood, 0 = never (equals sent_ns on a reused connection)
    ("first_byte_ns", "q"),  # first byte of the answer, 0 = never
    ("done_ns", "q"),  # whole answer read, or the failure noticed
    ("served", "I"),  # the pod's own count of requests as its answer says it, 0 = unknown
    ("conn", "I"),  # number of the connection in this worker
)
RECORD = struct.Struct("<" + "".join(code for _, code in FIELDS))
DTYPE_FIELDS = [(name, {"B": "u1", "H": "<u2", "I": "<u4", "q": "<i8"}[code]) for name, code in FIELDS]
assert RECORD.size == 64

__all__ = ["DTYPE_FIELDS", "FIELDS", "RECORD"]
