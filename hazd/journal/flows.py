"""The flows that observers saw, on disk: flows.arrows while the trial runs, flows.arrow once it has ended."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FLOWS_STREAM, FLOWS_FILE = "flows.arrows", "flows.arrow"


def flow_schema() -> Any:
    """Arrow schema: a row a connection tracking event. at_ns: when it was read, ns since the epoch, our clock."""
    import pyarrow as pa

    words = pa.dictionary(pa.int16(), pa.string())
    return pa.schema(
        [
            ("node", words),
            ("at_ns", pa.int64()),
            ("client", words),
            ("client_port", pa.uint16()),
            ("endpoint", words),
            ("endpoint_port", pa.uint16()),
            ("ended", pa.bool_()),
        ]
    )


class FlowWriter:
    """Appends flows as they come; nothing is created in the folder before the first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stream: Any = None
        self._sink: Any = None

    def add(self, node: str, rows: Sequence[tuple[int, str, int, str, int, bool]]) -> None:
        """rows: (at_ns, client, its port, endpoint, its port, ended) each."""
        import pyarrow as pa

        if not rows:
            return
        schema = flow_schema()
        if self._stream is None:
            options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
            self._sink = (self._folder / FLOWS_STREAM).open("wb", buffering=0)
            self._stream = pa.ipc.new_stream(self._sink, schema, options=options)
        columns = [[node] * len(rows), *zip(*rows, strict=True)]
        arrays = [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)]
        self._stream.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))

    def close(self) -> None:
        """The stream becomes a file that any Arrow reader opens; the stream stays until the file is whole."""
        import pyarrow as pa

        if self._stream is None:
            return
        self._stream.close()
        self._sink.close()
        self._stream = None
        table = _read_stream(self._folder / FLOWS_STREAM).unify_dictionaries()
        part = self._folder / (FLOWS_FILE + ".part")
        with (
            pa.OSFile(str(part), "wb") as sink,
            pa.ipc.new_file(sink, flow_schema(), options=pa.ipc.IpcWriteOptions(compression="zstd")) as out,
        ):
            out.write_table(table)
        os.replace(part, self._folder / FLOWS_FILE)
        (self._folder / FLOWS_STREAM).unlink()


def _read_stream(path: Path) -> Any:
    """The table of a stream as far as it is whole."""
    import pyarrow as pa

    batches: list[Any] = []
    with pa.OSFile(str(path), "rb") as source:
        try:
            for batch in pa.ipc.open_stream(source):
                batches.append(batch)
        except pa.ArrowInvalid:
            pass  # torn by a kill; the trial has ended in the middle and says so
    return pa.Table.from_batches(batches, schema=flow_schema())


__all__ = ["FLOWS_FILE", "FLOWS_STREAM", "FlowWriter", "flow_schema"]
