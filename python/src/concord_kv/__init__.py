"""Concord: an embedded, strongly consistent key-value store inside your program.

>>> import concord_kv
>>> with concord_kv.open() as db:  # with a directory it is durable; without, in memory
...     db.put("user:1", {"name": "Ann"}, ttl=60)
...     db["user:1"]["name"]
'Ann'

Values are None, bool, int of any size, float, str, bytes, list, tuple, dict, set, datetime, date, time, Decimal,
:class:`Atom` and :class:`Struct`; every language of Concord reads what another wrote. Keys are 1 to 1,024 bytes, as
str (UTF-8) or bytes. ``concord_kv.aio`` has the same verbs as coroutines.

With ``auth_enabled=True`` every call needs a token: :meth:`Db.with_token`, or ``token=`` of a single call. With
``api_port=`` a store is served over HTTP. With ``listen=``, ``seeds=`` and ``cookie=`` it is a member of a cluster;
:func:`connect` reaches one from outside.
"""

from concord_kv._native import version as _version
from concord_kv.cluster import Cluster
from concord_kv.db import Db, connect, open
from concord_kv.errors import (
    AlreadyExistsError,
    BatchTooLargeError,
    ClosedError,
    ClusterNotReadyError,
    CompactedError,
    ConcordError,
    ConditionFailedError,
    ConflictingConditionsError,
    CorruptError,
    ForbiddenError,
    InternalError,
    InvalidConditionError,
    InvalidConfigError,
    InvalidKeyError,
    InvalidOperationFormatError,
    InvalidTouchOperationError,
    InvalidTtlError,
    InvalidValueError,
    IoError,
    LockedError,
    MissingConditionError,
    NoprocError,
    NotAnIntegerError,
    NotFoundError,
    TimedOutError,
    UnauthorizedError,
    UnknownOutcomeError,
    ValueTooLargeError,
)
from concord_kv.options import Tls
from concord_kv.selection import check_expression, expression_holds
from concord_kv.tokens import CreatedToken, TokenInfo, Tokens
from concord_kv.values import ABSENT, Atom, Record, Struct

__version__: str = _version()

__all__ = [
    "ABSENT",
    "AlreadyExistsError",
    "Atom",
    "BatchTooLargeError",
    "ClosedError",
    "Cluster",
    "ClusterNotReadyError",
    "CompactedError",
    "ConcordError",
    "ConditionFailedError",
    "ConflictingConditionsError",
    "CorruptError",
    "CreatedToken",
    "Db",
    "ForbiddenError",
    "InternalError",
    "InvalidConditionError",
    "InvalidConfigError",
    "InvalidKeyError",
    "InvalidOperationFormatError",
    "InvalidTouchOperationError",
    "InvalidTtlError",
    "InvalidValueError",
    "IoError",
    "LockedError",
    "MissingConditionError",
    "NoprocError",
    "NotAnIntegerError",
    "NotFoundError",
    "Record",
    "Struct",
    "TimedOutError",
    "Tls",
    "TokenInfo",
    "Tokens",
    "UnauthorizedError",
    "UnknownOutcomeError",
    "ValueTooLargeError",
    "check_expression",
    "connect",
    "expression_holds",
    "open",
]
