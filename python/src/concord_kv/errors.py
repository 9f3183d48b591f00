"""Errors: a class for each kind of failure, the same kinds in every language.

Each class is a :class:`ConcordError`, and also the built-in exception that a Python program would expect there, so
that ``except KeyError`` catches a missing key. The kind is the API; the message is for people.
"""

from __future__ import annotations

from typing import ClassVar


class ConcordError(Exception):
    """A failed operation. Its class says the kind; ``kind`` and ``code`` are the kind's name and stable number."""

    kind: ClassVar[str] = "internal"
    code: ClassVar[int] = 26

    def __str__(self) -> str:
        message = " ".join(str(part) for part in self.args)
        return f"{self.kind}: {message}" if message else self.kind


class TimedOutError(ConcordError, TimeoutError):
    """The deadline passed before the operation began; nothing was done. Try again."""

    kind, code = "timeout", 1


class UnauthorizedError(ConcordError, PermissionError):
    """The token is missing, unknown, expired or revoked."""

    kind, code = "unauthorized", 2


class ForbiddenError(ConcordError, PermissionError):
    """The token is valid but may not do this."""

    kind, code = "forbidden", 3


class ClusterNotReadyError(ConcordError, ConnectionError):
    """This node cannot serve now. Nothing was done; try again later."""

    kind, code = "cluster_not_ready", 4


class InvalidKeyError(ConcordError, ValueError):
    """A key is 1 to 1,024 bytes."""

    kind, code = "invalid_key", 5


class InvalidValueError(ConcordError, ValueError):
    """The value cannot be stored: of an unknown type, or nested deeper than 128 levels."""

    kind, code = "invalid_value", 6


class ValueTooLargeError(ConcordError, ValueError):
    """The value, or the result of an increment, is larger than allowed."""

    kind, code = "value_too_large", 7


class InvalidTtlError(ConcordError, ValueError):
    """A TTL is a positive duration."""

    kind, code = "invalid_ttl", 8


class NotFoundError(ConcordError, KeyError):
    """The key does not exist or has expired."""

    kind, code = "not_found", 9


class AlreadyExistsError(ConcordError):
    """The key exists already."""

    kind, code = "already_exists", 10


class ConditionFailedError(ConcordError):
    """The current value or revision is not the expected one."""

    kind, code = "condition_failed", 11


class MissingConditionError(ConcordError, ValueError):
    """A conditional write needs a condition."""

    kind, code = "missing_condition", 12


class ConflictingConditionsError(ConcordError, ValueError):
    """A conditional write takes one condition only."""

    kind, code = "conflicting_conditions", 13


class InvalidConditionError(ConcordError, ValueError):
    """The condition or the selector is not of a form that can be evaluated."""

    kind, code = "invalid_condition", 14

    column: int | None = None
    """Where in an expression or a pattern the fault is: which character, the first is 1. None for what has no place."""


class BatchTooLargeError(ConcordError, ValueError):
    """A bulk operation holds at most 500 items."""

    kind, code = "batch_too_large", 15


class InvalidOperationFormatError(ConcordError, TypeError, ValueError):
    """An item of a bulk operation has the wrong shape."""

    kind, code = "invalid_operation_format", 16


class NotAnIntegerError(ConcordError, TypeError):
    """The current value is not an integer."""

    kind, code = "not_an_integer", 17


class UnknownOutcomeError(ConcordError):
    """The write may or may not have happened: its answer was lost. Read before trying again.

    Not a ``TimeoutError``, so that nobody takes it for "nothing was done".
    """

    kind, code = "unknown_outcome", 18


class NoprocError(ConcordError):
    """No store is running."""

    kind, code = "noproc", 19


class CorruptError(ConcordError):
    """Stored data is damaged; the message names file and offset."""

    kind, code = "corrupt", 20


class ClosedError(ConcordError, ValueError):
    """The store was closed, or was opened before a fork."""

    kind, code = "closed", 21


class InvalidTouchOperationError(ConcordError, ValueError):
    """An item of a bulk touch has no positive TTL."""

    kind, code = "invalid_touch_operation", 22


class InvalidConfigError(ConcordError, ValueError):
    """An option has a value that it cannot take."""

    kind, code = "invalid_config", 23


class LockedError(ConcordError, BlockingIOError):
    """Another process, or another open store of this one, holds the data directory."""

    kind, code = "locked", 24


class IoError(ConcordError, OSError):
    """The operating system refused a file operation; the message names it."""

    kind, code = "io", 25


class InternalError(ConcordError, RuntimeError):
    """A defect in Concord itself. Please report it."""

    kind, code = "internal", 26


class CompactedError(ConcordError, LookupError):
    """The changes that were asked for are no longer retained. Begin again with the current state."""

    kind, code = "compacted", 27


ERRORS_BY_CODE: dict[int, type[ConcordError]] = {error.code: error for error in ConcordError.__subclasses__()}
"""The class of each kind, by its code."""
