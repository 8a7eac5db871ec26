"""Every error hazd raises on purpose: a message, a hint that says what would be right, and the exit code.

Code outside this file never calls sys.exit; the command line turns a HazdError into one line and its exit code.
"""

from __future__ import annotations

EXIT_PASS, EXIT_FAIL, EXIT_USAGE, EXIT_INCONCLUSIVE, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


class HazdError(Exception):
    """Base of all: `message` names the field and the value, `hint` the remedy, `exit_code` what a script sees."""

    exit_code = EXIT_INCONCLUSIVE

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(HazdError):
    """The options or files given cannot mean anything; nothing was touched."""

    exit_code = EXIT_USAGE


class EnvironmentProblem(HazdError):
    """A tool, an engine or a permission is missing or broken; `hint` names the remedy."""


class ClusterError(HazdError):
    """The cluster answered with an error or not at all; transient: the same call may well succeed a little later."""

    transient = False


class NotFound(ClusterError):
    """The named object does not exist (HTTP 404)."""


class AlreadyExists(ClusterError):
    """An object of that name exists (HTTP 409 AlreadyExists)."""


class Conflict(ClusterError):
    """The object changed under a patch that carried a resourceVersion (HTTP 409 Conflict)."""


class TimedOut(ClusterError):
    """A state that was waited for did not come in time; the message says what was seen last."""


class JournalError(HazdError):
    """A run folder cannot be read, or a worker's records do not match their checksum."""


class Crash(HazdError):
    """An error that hazd did not expect, inside one trial; the hint says where its traceback is."""


def first_hazd_error(error: BaseException) -> HazdError | None:
    """The first HazdError in an error or, at any depth, in a task group's ExceptionGroup."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(first_hazd_error, error.exceptions)), None)
    return error if isinstance(error, HazdError) else None
