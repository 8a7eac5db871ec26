"""Why a trial failed, as one error with a remedy: what hazd raised itself, a full disk, or a fault of hazd's own."""

from __future__ import annotations

import contextlib
import errno
import traceback
from collections.abc import Iterator
from pathlib import Path

from hazd.errors import Crash, EnvironmentProblem, HazdError, first_hazd_error

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TRACEBACK_FILE = "traceback.txt"


def why_failed(error: BaseException, folder: Path) -> HazdError:
    """The one error of a trial. An unexpected one leaves its traceback in the trial's `folder` and becomes a Crash."""
    known = full_disk(error, folder) or first_hazd_error(error)
    if known is not None:
        return known
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TRACEBACK_FILE).write_text("".join(traceback.format_exception(error)))
    first = _first(error)
    return Crash(
        f"unexpected error: {type(first).__name__}: {first}",
        f"its traceback is in {folder / TRACEBACK_FILE}; please report it with that file",
    )


def full_disk(error: BaseException, folder: Path) -> EnvironmentProblem | None:
    """What to say when a write below `folder` failed for want of space or quota (ENOSPC, EDQUOT, EFBIG), else None."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, (full_disk(item, folder) for item in error.exceptions)), None)
    if isinstance(error, OSError) and error.errno in FULL:
        return EnvironmentProblem(
            f"cannot write {folder}: {error.strerror}",
            "what was written is kept; free some space, then `hazd report` on the run analyses what is there",
        )
    return None


@contextlib.contextmanager
def naming_full_disk(folder: Path) -> Iterator[None]:
    """Raises EnvironmentProblem instead of the OSError of a full disk."""
    try:
        yield
    except OSError as error:
        if (problem := full_disk(error, folder)) is None:
            raise
        raise problem from error


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = (error.subgroup(Exception) or error).exceptions[0]
    return error


__all__ = ["TRACEBACK_FILE", "full_disk", "naming_full_disk", "why_failed"]
