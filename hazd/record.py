"""The 64 bytes a worker keeps of each request, the same on every machine: the seam between worker and journal.

The one definition of the record's fields. Everything else derives from it: the worker's packing (`RECORD`), NumPy's
view of a file of records (`DTYPE_FIELDS`), the Arrow columns of the journal (hazd/journal/schema.py). Only the standard
library is used, so the worker's container needs nothing for it.
"""

from __future__ import annotations

import struct
from enum import Enum, auto
from typing import NamedTuple

from hazd.model import Connection, FailureKind, Phase


class Holds(Enum):
    """What a field's number means."""

    NUMBER = auto()
    TIME = auto()  # ns since the Unix epoch, 0 = it never came
    STREAM = auto()  # index into the plan's streams
    POD = auto()  # index into the worker's list of pod names, 0 = no response named its pod


class Field(NamedTuple):
    """code: of the struct module, which fixes the width. holds: the meaning of the number, or the enum it is from."""

    name: str
    code: str
    holds: Holds | type[Connection] | type[FailureKind] | type[Phase] = Holds.NUMBER


FIELDS: tuple[Field, ...] = (
    Field("seq", "I"),  # number of the due time in the whole schedule, all workers together
    Field("stream", "B", Holds.STREAM),
    Field("connection", "B", Connection),
    Field("kind", "B", FailureKind),
    Field("phase", "B", Phase),
    Field("status", "H"),  # HTTP status, 0 when none came
    Field("errno", "H"),  # the kernel's errno, 0 when there was none
    Field("pod", "H", Holds.POD),
    Field("local_port", "H"),  # the client's source port, 0 when there was no socket
    Field("due_ns", "q", Holds.TIME),  # when it ought to be sent
    Field("sent_ns", "q", Holds.TIME),  # when work on it began (connect on a new connection, write on a reused one)
    Field("connected_ns", "q", Holds.TIME),  # when the connection was established (equals sent_ns on a reused one)
    Field("first_byte_ns", "q", Holds.TIME),  # first byte of the response
    Field("done_ns", "q", Holds.TIME),  # whole response read, or the failure noticed
    Field("served", "I"),  # the pod's own count of requests as its response says it, 0 = unknown
    Field("conn", "I"),  # number of the connection in this worker
)
RECORD = struct.Struct("<" + "".join(field.code for field in FIELDS))
DTYPE_FIELDS = [(field.name, {"B": "u1", "H": "<u2", "I": "<u4", "q": "<i8"}[field.code]) for field in FIELDS]
assert RECORD.size == 64

__all__ = ["DTYPE_FIELDS", "FIELDS", "RECORD", "Field", "Holds"]
