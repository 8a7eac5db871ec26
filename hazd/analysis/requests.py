"""The samples of a trial as plain NumPy columns, so that every later step is a few array operations.

Missing times are 0 and missing words are "" here; the journal keeps them as null. It also ties each request on a
reused connection to the pod that had answered on that connection before, which is known and never a guess.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hazd.model import FailureKind, Phase

KINDS: tuple[str, ...] = tuple(item.label for item in FailureKind)
FAILURES: tuple[str, ...] = KINDS[1:]
PHASES: tuple[str, ...] = tuple(item.label for item in Phase)
_WORDS = ("stream", "connection", "kind", "phase", "pod")


@dataclass(frozen=True)
class Requests:
    """Columns of equal length, in the order of due_ns. `kind` and `phase` are codes of hazd.model; `new` a mask.

    pod: who answered, "" when nobody did. peer: the pod at the other end of the connection where that is certain
    (it answered this request, or an earlier one on the same connection), else "".
    """

    worker: Any
    seq: Any
    stream: Any
    new: Any
    kind: Any
    phase: Any
    status: Any
    errno: Any
    pod: Any
    peer: Any
    local_port: Any
    due_ns: Any
    sent_ns: Any
    connected_ns: Any
    done_ns: Any
    served: Any
    conn: Any

    def __len__(self) -> int:
        return len(self.seq)

    @cached_property
    def ok(self) -> Any:
        return self.kind == FailureKind.OK

    @cached_property
    def unidentified(self) -> bool:
        """Whether no response says which pod gave it, as those of hazd's sample app do (`x-hazd-pod`)."""
        return not (self.pod != "").any()

    @cached_property
    def failed(self) -> Any:
        """Positions of the failed requests."""
        import numpy as np

        return np.flatnonzero(~self.ok)

    def take(self, positions: Any) -> Requests:
        return Requests(*(getattr(self, name)[positions] for name in self.__dataclass_fields__))

    def replace(self, **columns: Any) -> Requests:
        """The same requests with other columns of the same length."""
        return dataclasses.replace(self, **columns)

    def by_kind(self) -> dict[str, int]:
        """Failures by kind, every kind named."""
        import numpy as np

        counts = np.bincount(self.kind, minlength=len(KINDS))
        return {name: int(counts[code]) for code, name in enumerate(KINDS) if code}


def read_requests(frame: Any) -> Requests:
    """Columns out of the journal's DataFrame (the columns of `journal.sample_schema()`)."""
    import numpy as np

    order = np.argsort(frame["due_ns"].to_numpy(), kind="stable")

    def numbers(name: str) -> Any:
        column = frame[name]
        if column.hasnans:
            column = column.fillna(0)
        return column.to_numpy(dtype=np.int64)[order]

    words = {name: frame[name].astype(object).fillna("").to_numpy(dtype=object)[order] for name in _WORDS}
    worker, conn, due_ns = numbers("worker"), numbers("conn"), numbers("due_ns")
    sent_ns = numbers("sent_ns")
    return Requests(
        worker=worker,
        seq=numbers("seq"),
        stream=words["stream"],
        new=words["connection"] == "new",
        kind=_codes(words["kind"], KINDS),
        phase=_codes(words["phase"], PHASES),
        status=numbers("status"),
        errno=numbers("errno"),
        pod=words["pod"],
        peer=of_connection(worker, conn, words["pod"]),
        local_port=numbers("local_port"),
        due_ns=due_ns,
        sent_ns=np.where(sent_ns == 0, due_ns, sent_ns),
        connected_ns=numbers("connected_ns"),
        done_ns=numbers("done_ns"),
        served=numbers("served"),
        conn=conn,
    )


def _codes(words: Any, names: tuple[str, ...]) -> Any:
    """Labels to the model's codes; an unknown label is a bug of the writer and raises KeyError."""
    import numpy as np
    import pandas as pd

    found, unique = pd.factorize(words)
    table = np.array([names.index(word) for word in unique], dtype=np.int64)
    return table[found] if len(unique) else np.zeros(len(words), dtype=np.int64)


def of_connection(worker: Any, conn: Any, words: Any) -> Any:
    """Words known of some requests, handed on to the others of the same connection; "" where nothing is known.

    A connection keeps its pod for life, since conntrack holds its translation.
    """
    import numpy as np
    import pandas as pd

    found = words.copy()
    key = worker * (1 << 32) + conn
    known = (words != "") & (conn != 0)
    of = dict(zip(key[known].tolist(), words[known].tolist(), strict=True))
    silent = np.flatnonzero((words == "") & (conn != 0))
    if len(silent) and of:
        found[silent] = pd.Series(key[silent]).map(of).fillna("").to_numpy(dtype=object)
    return found


__all__ = ["FAILURES", "KINDS", "PHASES", "Requests", "of_connection", "read_requests"]
