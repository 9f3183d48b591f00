"""Options of open() and connect(): from what people write to what the extension takes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from concord_kv.errors import InvalidConfigError, UnauthorizedError

Consistency = Literal["eventual", "leader", "strong"]
"""How fresh a read must be; on a single node all three are the same local read."""

Durability = Literal["always", "interval", "memory"]
"""When an acknowledged write is safe from a crash of the machine."""

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]

DURABILITIES = {None: 0, "always": 1, "interval": 2, "memory": 3}
CONSISTENCIES = {None: 0, "eventual": 1, "leader": 2, "strong": 3}
COMPRESSIONS = {None: 0, False: 1, "zlib": 2, "gzip": 3}

INTERVAL_MS_DEFAULT = 100

SWITCHES = {None: 0, True: 1, False: 2}
PORT_ANY, PORT_NONE = -1, -2
"""Any port that is free; not served, whatever the environment says."""


@dataclass(frozen=True)
class Tls:
    """Files for TLS in both directions (PEM); all members and clients trust the same authority.

    ``certificate``: chain of this node or client. ``private_key``: its key, readable by its owner only. ``authority``:
    certificates of who signs all of them. ``verify_node_id``: a member's certificate must be valid for
    ``<node id>.node.concord``.
    """

    certificate: Path
    private_key: Path
    authority: Path
    verify_node_id: bool = False


class ClusterOptions(TypedDict, total=False):
    """What makes a store a member of a cluster; :func:`concord_kv.open` says what each means."""

    listen: str | None
    advertise: str | None
    name: str | None
    seeds: Iterable[str] | str | None
    bootstrap_expect: int | None
    cookie: str | None
    multicast: bool | str | None
    tls: Tls | None
    election_timeout_ms: int | None
    promote: bool | None


class HttpOptions(TypedDict, total=False):
    """What a store serves over HTTP; :func:`concord_kv.open` says what each means."""

    api_port: int | Literal[False] | None
    api_ip: str | None
    prometheus_port: int | Literal[False] | None
    api_tls_certificate: Path | None
    api_tls_private_key: Path | None
    api_body_bytes_max: int | None
    api_connections_max: int | None
    allow_open: bool | None


class SwitchOptions(TypedDict, total=False):
    """What is on or off; None is as the environment says, else as it is by default."""

    auth_enabled: bool | None
    local_socket: bool | None
    telemetry_enabled: bool | None
    hot_keys: bool | None
    metrics_keys: bool | None


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
    cluster: tuple[Any, ...] | None
    http: tuple[Any, ...] | None
    switches: tuple[int, ...]


def native_options(
    path: Path | None,
    *,
    durability: Durability | None = None,
    interval_ms: int | None = None,
    default_consistency: Consistency | None = None,
    compression: Literal["zlib", "gzip", False] | None = None,
    compression_level: int | None = None,
    compression_threshold_bytes: int | None = None,
    value_bytes_max: int | None = None,
    expiry_interval_ms: int | None = None,
    snapshot_log_bytes: int | None = None,
    **others: Any,
) -> NativeOptions:
    """Check options and number them. Wrong types raise TypeError, wrong values InvalidConfigError.

    The others are those of :class:`ClusterOptions`, :class:`HttpOptions` and :class:`SwitchOptions`.
    """
    cluster, http, switches = (
        {name: others.pop(name) for name in kind.__annotations__ if name in others}
        for kind in (ClusterOptions, HttpOptions, SwitchOptions)
    )
    if others:
        raise TypeError(f"open() got an unexpected keyword argument {next(iter(others))!r}")
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
        "cluster": native_cluster(cluster),
        "http": native_http(http),
        "switches": tuple(SWITCHES[flag(name, switches.get(name))] for name in SwitchOptions.__annotations__),
    }


def native_http(given: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Options of HTTP as the extension takes them; None when none is given."""
    if all(value is None for value in given.values()):
        return None
    certificate, private_key = (given.get(name) for name in ("api_tls_certificate", "api_tls_private_key"))
    if (certificate is None) != (private_key is None):
        raise InvalidConfigError("api_tls_certificate and api_tls_private_key go together")
    return (
        optional_text("api_ip", given.get("api_ip")),
        port("api_port", given.get("api_port")),
        port("prometheus_port", given.get("prometheus_port")),
        None if certificate is None else pem("api_tls_certificate", certificate),
        None if private_key is None else pem("api_tls_private_key", private_key),
        positive("api_body_bytes_max", given.get("api_body_bytes_max")),
        positive("api_connections_max", given.get("api_connections_max")),
        bool(flag("allow_open", given.get("allow_open"))),
    )


def port(name: str, given: int | Literal[False] | None) -> int:
    """A port as the extension takes it: 0 is any here, False none, None what the environment says."""
    if given is None:
        return 0
    if given is False:
        return PORT_NONE
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"{name} is an int or False, not {type(given).__name__}")
    if not 0 <= given < 2**16:
        raise InvalidConfigError(f"{name} is 0 to 65535, not {given}")
    return given or PORT_ANY


def pem(name: str, path: Path) -> bytes:
    """Path of a PEM file."""
    encoded = os.fsencode(path)
    if not encoded or b"\0" in encoded:
        raise InvalidConfigError(f"{name} is the path of a PEM file")
    return encoded


def native_cluster(given: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Options of a member as the extension takes them; None when none is given."""
    if all(value is None for value in given.values()):
        return None
    expect = given.get("bootstrap_expect")
    if expect is not None and (not isinstance(expect, int) or isinstance(expect, bool)):
        raise TypeError(f"bootstrap_expect is an int, not {type(expect).__name__}")
    if expect is not None and not 0 <= expect < 2**31:
        raise InvalidConfigError(f"bootstrap_expect is 0 to 9, not {expect}")
    promote = {None: 0, True: 1, False: 2}[flag("promote", given.get("promote"))]
    return (
        optional_text("listen", given.get("listen")),
        optional_text("advertise", given.get("advertise")),
        optional_text("name", given.get("name")),
        addresses("seeds", given.get("seeds")),
        optional_text("cookie", given.get("cookie")),
        *native_tls(given.get("tls")),
        expect or 0,
        *native_multicast(given.get("multicast")),
        positive("election_timeout_ms", given.get("election_timeout_ms")),
        promote,
    )


def native_client(
    members: Iterable[str] | str | None,
    data_dir: Path | None,
    cookie: str | None,
    token: str | None,
    tls: Tls | None,
    timeout: float | None,
    default_consistency: Consistency | None,
    compression: Literal["zlib", "gzip", False] | None,
    compression_level: int | None,
    compression_threshold_bytes: int | None,
) -> tuple[Any, ...]:
    """Options of a client as the extension takes them."""
    if (members is None) == (data_dir is None):
        raise InvalidConfigError("name members as host:port, or the data_dir of an open store, and not both")
    if timeout is not None and (not isinstance(timeout, (int, float)) or isinstance(timeout, bool)):
        raise TypeError(f"a timeout is seconds as int or float, not {type(timeout).__name__}")
    if timeout is not None and not 0.001 <= timeout <= 600:
        raise InvalidConfigError("the timeout of a connection is 0.001 to 600 seconds")
    return (
        addresses("addresses", members),
        None if data_dir is None else directory(data_dir),
        optional_text("cookie", cookie),
        None if token is None else token_text(token),
        *native_tls(tls),
        one_of("default_consistency", default_consistency, CONSISTENCIES),
        one_of("compression", compression, COMPRESSIONS),
        positive("compression_level", compression_level),
        positive("compression_threshold_bytes", compression_threshold_bytes),
        0 if timeout is None else round(timeout * 1000),
    )


def token_text(token: object) -> bytes:
    """A token of a client. One that is none is refused here: left out it would mean the cookie of the environment."""
    if not isinstance(token, str):
        raise TypeError(f"a token is a str, not {type(token).__name__}")
    encoded = token.encode(errors="replace")
    if not encoded or b"\0" in encoded:
        raise UnauthorizedError("this is no token: it was mistyped or cut off")
    return encoded


def native_tls(tls: Tls | None) -> tuple[bytes | None, bytes | None, bytes | None, bool]:
    """The files of TLS, and whether node ids are verified."""
    if tls is None:
        return None, None, None, False
    if not isinstance(tls, Tls):
        raise TypeError(f"tls is a concord_kv.Tls, not {type(tls).__name__}")
    files = [os.fsencode(path) for path in (tls.certificate, tls.private_key, tls.authority)]
    if any(not path or b"\0" in path for path in files):
        raise InvalidConfigError("tls: each of the three is the path of a PEM file")
    certificate, private_key, authority = files
    return certificate, private_key, authority, bool(flag("tls.verify_node_id", tls.verify_node_id))


def native_multicast(given: bool | str | None) -> tuple[bool, int, bytes | None]:
    """Whether to find others by multicast, and the port and group where they are not the usual ones."""
    if not isinstance(given, str):
        return bool(flag("multicast", given)), 0, None
    group, _, port = given.partition(":")
    if not group or not (port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise InvalidConfigError(f"multicast is True, False or 'group:port', not {given!r}")
    return True, int(port), text("multicast", group)


def text(name: str, given: object) -> bytes:
    """A text as the extension takes it."""
    if not isinstance(given, str):
        raise TypeError(f"{name} is a str, not {type(given).__name__}")
    if "\0" in given:
        raise InvalidConfigError(f"{name} has a NUL in it")
    try:
        return given.encode()
    except UnicodeEncodeError:
        raise InvalidConfigError(f"{name} has lone surrogates, so it is not UTF-8") from None


def optional_text(name: str, given: object) -> bytes | None:
    """A text that may be left out."""
    return None if given is None else text(name, given)


def addresses(name: str, given: Iterable[str] | str | None) -> bytes | None:
    """``host:port`` of several nodes: a list of them, or one text with commas."""
    if given is None or isinstance(given, str):
        return optional_text(name, given)
    if isinstance(given, bytes):
        raise TypeError(f"{name} is a list of str, not bytes")
    return b",".join(text(f"each of {name}", address) for address in given)


def flag(name: str, given: bool | None) -> bool | None:
    """An option that is on, off, or left out."""
    if given is not None and not isinstance(given, bool):
        raise TypeError(f"{name} is True or False, not {type(given).__name__}")
    return given


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
