"""Options of open(): from what people write to what the extension takes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from concord_kv.errors import InvalidConfigError

Consistency = Literal["eventual", "leader", "strong"]
"""How fresh a read must be; on a single node all three are the same local read."""

Durability = Literal["always", "interval", "memory"]
"""When an acknowledged write is safe from a crash of the machine."""

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]

DURABILITIES = {None: 0, "always": 1, "interval": 2, "memory": 3}
CONSISTENCIES = {None: 0, "eventual": 1, "leader": 2, "strong": 3}
COMPRESSIONS = {None: 0, False: 1, "zlib": 2, "gzip": 3}

INTERVAL_MS_DEFAULT = 100


class NativeOptions(TypedDict):
    """What ``_native.Store`` takes; 0 means the default."""

    path: bytes | None
    durability: int
    interval_ms: int
    consistency: int
    compression: int
    compression_level: int
    compression_threshold_bytes: int
    value_bytes_max: int
    expiry_interval_ms: int
    snapshot_log_bytes: int


def native_options(
    path: Path | None,
    durability: Durability | None,
    interval_ms: int | None,
    default_consistency: Consistency | None,
    compression: Literal["zlib", "gzip", False] | None,
    compression_level: int | None,
    compression_threshold_bytes: int | None,
    value_bytes_max: int | None,
    expiry_interval_ms: int | None,
    snapshot_log_bytes: int | None,
) -> NativeOptions:
    """Check options and number them. Wrong types raise TypeError, wrong values InvalidConfigError."""
    if interval_ms is not None and durability != "interval":
        raise InvalidConfigError('interval_ms goes with durability="interval"')
    if durability == "interval" and interval_ms is None:
        interval_ms = INTERVAL_MS_DEFAULT
    return {
        "path": None if path is None else directory(path),
        "durability": one_of("durability", durability, DURABILITIES),
        "interval_ms": positive("interval_ms", interval_ms),
        "consistency": one_of("default_consistency", default_consistency, CONSISTENCIES),
        "compression": one_of("compression", compression, COMPRESSIONS),
        "compression_level": positive("compression_level", compression_level),
        "compression_threshold_bytes": positive("compression_threshold_bytes", compression_threshold_bytes),
        "value_bytes_max": positive("value_bytes_max", value_bytes_max),
        "expiry_interval_ms": positive("expiry_interval_ms", expiry_interval_ms),
        "snapshot_log_bytes": positive("snapshot_log_bytes", snapshot_log_bytes),
    }


def directory(path: Path) -> bytes:
    """Bytes of a path; the working directory is written as ``.``, never as an empty text."""
    encoded = os.fsencode(path)
    if not encoded or b"\0" in encoded:
        raise InvalidConfigError("the path of a store is a directory, without NUL; leave it out for a store in memory")
    return encoded


def one_of(name: str, given: object, allowed: Mapping[Any, int]) -> int:
    """Number of an option that takes one of a few names."""
    if given is not None and not isinstance(given, (str, bool)):
        raise TypeError(f"{name} is a str, not {type(given).__name__}")
    for value, number in allowed.items():
        if given is value or (isinstance(given, str) and given == value):
            return number
    names = ", ".join(repr(value) for value in allowed if value is not None)
    raise InvalidConfigError(f"{name} is one of {names}, not {given!r}")


def positive(name: str, given: int | None) -> int:
    """An option that is a number of at least 1; None is 0, which means its default."""
    if given is None:
        return 0
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"{name} is an int, not {type(given).__name__}")
    if not 1 <= given < 2**31:
        raise InvalidConfigError(f"{name} is at least 1, not {given}")
    return given
