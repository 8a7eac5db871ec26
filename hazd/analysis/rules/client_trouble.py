"""The client ran out of something of its own (ports, files, memory): no pod had a part in it.

The errno names it: EADDRNOTAVAIL (no free source port), EMFILE and ENFILE (files), ENOBUFS and ENOMEM (memory).
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator
from typing import Any

from hazd.analysis.case import Case, Suspect

NAME = "client_trouble"
TITLE = "the client ran out of ports, files or memory"
CURED_BY = ()
_OWN = (errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def suspects(case: Case) -> Iterator[Suspect]:
    import numpy as np

    own = np.isin(case.failed.errno, _OWN)
    if own.any():
        yield Suspect("", 10.0 * own, _explain(case))


def _explain(case: Case) -> Any:
    def explain(positions: Any) -> tuple[str, tuple[str, ...]]:
        counts = Counter(case.failed.errno[positions].tolist())
        words = ", ".join(f"{number} x {errno.errorcode.get(code, code)}" for code, number in counts.most_common())
        return "the client itself ran short", (words,)

    return explain
