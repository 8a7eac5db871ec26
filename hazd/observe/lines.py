"""What an observer says of what it saw: one line of JSON a batch, on its standard output. Both ends of it, pure.

A pod's log is the way out because it needs no port on a node and no reachability but the API server's. A batch is
zlib-compressed records in base64: about 20 bytes a flow. `seq` counts flows, so a line that is lost leaves a hole that
the reader sees.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

from hazd.observe.conntrack import Flow

_RECORD = struct.Struct("<q16sH16sHB")
_V4_MAPPED = bytes(10) + b"\xff\xff"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an observer's log.

    what: "listening" (from at_ns on nothing is missed), "flows", "alive" (all until at_ns was said), "gap" (between
    since_ns and at_ns the kernel dropped events), "end", "error". flows: (at_ns, flow), the first being number `seq`.
    detail: what else the observer says, such as its CPU time (cpu_ms) or an error's text.
    """

    what: str
    at_ns: int
    seq: int = 0
    since_ns: int = 0
    flows: tuple[tuple[int, Flow], ...] = ()
    detail: dict[str, Any] = field(default_factory=dict)


def encode(line: Line) -> str:
    """One line without its newline."""
    fields: dict[str, Any] = {"observed": line.what, "t_ns": line.at_ns}
    if line.flows:
        raw = b"".join(
            _RECORD.pack(
                at_ns, _wide(flow.client), flow.client_port, _wide(flow.endpoint), flow.endpoint_port, flow.ended
            )
            for at_ns, flow in line.flows
        )
        fields |= {"seq": line.seq, "n": len(line.flows), "z": base64.b64encode(zlib.compress(raw)).decode()}
    elif line.seq:
        fields["seq"] = line.seq
    if line.since_ns:
        fields["since_ns"] = line.since_ns
    return json.dumps(fields | line.detail, separators=(",", ":"))


def decode(text: str) -> Line | None:
    """The line, None when it is no observer's. Raises ValueError when it is one and damaged."""
    if not text.startswith('{"observed":'):
        return None
    try:
        fields = json.loads(text)
        what, at_ns = str(fields.pop("observed")), int(fields.pop("t_ns"))
        seq, since_ns = int(fields.pop("seq", 0)), int(fields.pop("since_ns", 0))
        flows: tuple[tuple[int, Flow], ...] = ()
        if packed := fields.pop("z", ""):
            flows = _flows(zlib.decompress(base64.b64decode(packed, validate=True)))
            if len(flows) != int(fields.pop("n")):
                raise ValueError("the number of flows is another")
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error, zlib.error, struct.error) as error:
        raise ValueError(f"an observer's line is damaged: {error}: {text[:80]}") from error
    return Line(what, at_ns, seq, since_ns, flows, fields)


def _flows(raw: bytes) -> tuple[tuple[int, Flow], ...]:
    return tuple(
        (at_ns, Flow(_plain(client), client_port, _plain(endpoint), endpoint_port, bool(ended)))
        for at_ns, client, client_port, endpoint, endpoint_port, ended in _RECORD.iter_unpack(raw)
    )


def _wide(address: bytes) -> bytes:
    return address if len(address) == 16 else _V4_MAPPED + address


def _plain(address: bytes) -> bytes:
    return address[12:] if address.startswith(_V4_MAPPED) else address


__all__ = ["Line", "decode", "encode"]
