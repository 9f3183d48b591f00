"""Db: an open store, used by one or many threads.

The verbs of a single key live in the extension (``_native.Store``, see ``_native.pyi``); here is what is easier said
in Python: opening, conditions that are functions, iteration, and the status.
"""

from __future__ import annotations

import atexit
import builtins
import json
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from concord_kv import _native
from concord_kv.cluster import Cluster, interruptible
from concord_kv.errors import (
    ConcordError,
    ConditionFailedError,
    ConflictingConditionsError,
    InvalidConditionError,
    InvalidOperationFormatError,
    InvalidTtlError,
    MissingConditionError,
    NotFoundError,
)
from concord_kv.options import Consistency, Durability, Path, Tls, native_client, native_options
from concord_kv.selection import Key, Selection, native_selector
from concord_kv.tokens import Tokens
from concord_kv.values import ABSENT, Absent, Record

if TYPE_CHECKING:
    from typing_extensions import Unpack

_open_stores: weakref.WeakSet[Db] = weakref.WeakSet()


class _Unset:
    """The class of :data:`UNSET`: an argument that was left out, where None is a value like any other."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "..."


UNSET: Final = _Unset()


def native_condition(expected: Any, condition: object, revision: int | None) -> dict[str, Any]:
    """Sort out conditions: what the extension takes as keywords, empty for a function; exactly one must be given."""
    given = [expected is not UNSET, condition is not None, revision is not None]
    if sum(given) == 0:
        raise MissingConditionError("give `expected`, `condition` or `revision`")
    if sum(given) > 1:
        raise ConflictingConditionsError("give only one of `expected`, `condition` and `revision`")
    if isinstance(condition, str):
        return {"where": condition}
    if condition is not None:
        if not callable(condition):
            raise InvalidConditionError("a condition is an expression, or a function of the current value")
        return {}
    return {"expected": expected} if expected is not UNSET else {"revision": revision}


def pairs_with_ttl(items: Any, ttl: float | None) -> list[tuple[Any, Any, Any]]:
    """Items of put_many_with_ttl as put_many takes them: each is (key, value), and the TTL is everybody's."""
    if ttl is None:
        raise InvalidTtlError("put_many_with_ttl needs a TTL; use put_many without")
    triples = []
    for item in items.items() if isinstance(items, Mapping) else items:
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise InvalidOperationFormatError("an item is a tuple of (key, value)")
        triples.append((item[0], item[1], ttl))
    return triples


def touch_items(items: Any) -> list[Any]:
    """Items of touch_many as a list, which is walked twice."""
    return list(items.items() if isinstance(items, Mapping) else items)


class Db(_native.Store):
    """An open store, or a client of a cluster. Use it as a context manager or close() it; a program's end closes it.

    Any number of threads may share it. A process that was forked may not use what its parent opened or connected: it
    gets a :class:`ClosedError` and opens its own, after the fork.
    """

    _owner: Db | None = None
    """The store that this handle was made of, which must not be closed before it; None in that store itself."""

    def __new__(cls, path: Path | None = None, **options: Any) -> Db:
        """Open a store; see :func:`concord_kv.open`."""
        self = super().__new__(cls, **native_options(path, **options))
        _open_stores.add(self)
        return self

    def __enter__(self) -> Db:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<concord_kv.Db {'closed' if self.closed else 'open'}>"

    def __reduce__(self) -> Any:
        raise TypeError("a store cannot be pickled; open it in the process that uses it")

    def __iter__(self) -> Iterator[Key]:
        return self.keys()

    @property
    def cluster(self) -> Cluster:
        """Who the members are and who leads; see :class:`concord_kv.Cluster`."""
        return Cluster(self)

    @property
    def closed(self) -> bool:
        """Whether this was closed, or its store (or belongs to the parent of a fork)."""
        return super().closed or (self._owner is not None and self._owner.closed)

    def with_token(self, token: str) -> Db:
        """The same store for the holder of a token: what is done through the handle is done in its name.

        It must be allowed to the token: ForbiddenError otherwise, UnauthorizedError once it was revoked or has expired;
        also where ``auth_enabled`` is off. Closing the handle leaves the store open; closing the store closes it too.
        For a single call pass ``token=``.

        ``with db.with_token("sk_concord_...") as app: app.put("app:a", 1)``

        Raises UnauthorizedError for a token that is malformed, unknown, expired or revoked. Takes microseconds; a
        member of a cluster that does not know the token waits up to half a second, a client connects with it.
        """
        if not self._is_client:
            return self._handle(self._with_token(token))
        return self._handle(interruptible(lambda: self._with_token(token), Db.close))

    def as_admin(self) -> Db:
        """The same store with every right, for the program that holds it; closing it is as with :meth:`with_token`.

        With ``auth_enabled`` this is the way to the first token. A client has the rights of its connection.
        """
        return self._handle(self._as_admin())

    def _handle(self, made: Db) -> Db:
        made._owner = self._owner or self
        return made

    @property
    def auth_enabled(self) -> bool:
        """Whether calls need a token; False for a client, whose connection has proved what it may do."""
        return self._auth_enabled()

    @property
    def tokens(self) -> Tokens:
        """Who may do what; see :class:`concord_kv.Tokens`."""
        return Tokens(self)

    @property
    def api_address(self) -> str | None:
        """Where the HTTP API, the console and /metrics are served, as ``"127.0.0.1:4000"``; None when they are not."""
        return self._api_address() or None

    @property
    def prometheus_address(self) -> str | None:
        """Where /metrics alone is served; None when it is not."""
        return self._prometheus_address() or None

    def _delete_item(self, key: Key) -> None:
        """``del db[key]``: removes exactly the record that it saw, so that a missing key is a KeyError."""
        while True:
            revision = self.get_record(key).revision
            try:
                return super().delete_if(key, revision=revision)
            except ConditionFailedError:
                continue

    def put_if(
        self,
        key: Key,
        value: Any,
        *,
        expected: Any = UNSET,
        condition: str | Callable[[Any], object] | None = None,
        revision: int | None = None,
        ttl: float | None = None,
        compress: bool | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> None:
        """Store a value if a condition holds, check and write being one atomic step.

        ``expected``: the current value equals this one (``1`` equals ``1.0``); ``ABSENT``: the key does not exist.
        ``revision``: the record is still the one that had this revision.
        ``condition``: an expression that is true of the current record, ``"value.version < 2"``; it runs in the store,
        see :class:`concord_kv.selection.Selection`. Or a function of the current value, called here; the write happens
        only if the record did not change meanwhile, otherwise it is asked again. What it raises is raised here, and
        nothing is written.

        Raises ConditionFailedError, NotFoundError, AlreadyExistsError (with ABSENT), MissingConditionError,
        ConflictingConditionsError, InvalidConditionError.
        """
        options: dict[str, Any] = {"ttl": ttl, "compress": compress, "timeout": timeout, "token": token}
        try:
            native = native_condition(expected, condition, revision)
        except ConcordError:
            self._authorize(token, _native.SCOPE_WRITE, key)
            raise
        if native or condition is None or isinstance(condition, str):
            return super().put_if(key, value, **native, **options)
        while True:
            seen = self._approved(key, condition, token)
            try:
                return super().put_if(key, value, revision=seen, **options)
            except ConditionFailedError:
                continue

    def delete_if(
        self,
        key: Key,
        *,
        expected: Any = UNSET,
        condition: str | Callable[[Any], object] | None = None,
        revision: int | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> None:
        """Remove a key if a condition holds; conditions and errors as in :meth:`put_if`."""
        try:
            native = native_condition(expected, condition, revision)
        except ConcordError:
            self._authorize(token, _native.SCOPE_WRITE, key)
            raise
        if native or condition is None or isinstance(condition, str):
            return super().delete_if(key, **native, timeout=timeout, token=token)
        while True:
            seen = self._approved(key, condition, token)
            try:
                return super().delete_if(key, revision=seen, timeout=timeout, token=token)
            except ConditionFailedError:
                continue

    def _approved(self, key: Key, condition: Callable[[Any], object], token: str | None) -> int:
        """Revision of the record that the condition accepts."""
        record = self.get_record(key, token=token)
        if not condition(record.value):
            raise ConditionFailedError("the condition does not hold for the current value")
        return record.revision

    def put_with_ttl(
        self, key: Key, value: Any, ttl: float, *, timeout: float | None = None, token: str | None = None
    ) -> None:
        """Store a value that lives for ``ttl`` seconds."""
        if ttl is None:
            self._authorize(token, _native.SCOPE_WRITE, key)
            raise InvalidTtlError("put_with_ttl needs a TTL; use put without")
        self.put(key, value, ttl, timeout=timeout, token=token)

    def put_many_with_ttl(
        self,
        items: Mapping[Any, Any] | Iterable[tuple[Key, Any]],
        ttl: float,
        *,
        compress: bool | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> None:
        """Store up to 500 records that live for ``ttl`` seconds, all or none."""
        try:
            triples = pairs_with_ttl(items, ttl)
        except ConcordError:
            self._authorize(token, _native.SCOPE_WRITE, None)
            raise
        self.put_many(triples, compress=compress, timeout=timeout, token=token)

    def touch_many(
        self,
        items: Mapping[Any, float] | Iterable[tuple[Key, float]],
        *,
        timeout: float | None = None,
        token: str | None = None,
    ) -> dict[Key, bool]:
        """Set the remaining lifetimes of up to 500 keys; for each whether it existed."""
        listed = touch_items(items)
        found = super().touch_many(listed, timeout=timeout, token=token)
        return {key: existed for (key, _), existed in zip(listed, found, strict=True)}

    def keys(
        self,
        prefix: Key | None = None,
        *,
        start: Key | None = None,
        end: Key | None = None,
        consistency: Consistency | None = None,
        timeout: float | None = None,
        token: str | None = None,
        **selection: Unpack[Selection],
    ) -> _native.Scan[Key]:
        r"""Walk over the keys as they are now, in the order of their bytes; writes go on meanwhile and are not seen.

        ``prefix``: only keys that begin with it. ``start``: from this key on. ``end``: up to, but not including it. For
        ``suffix``, ``contains``, ``range``, ``pattern``, ``where``, ``offset`` and ``limit`` see
        :class:`concord_kv.selection.Selection`; all that is said must hold.

        >>> import concord_kv
        >>> with concord_kv.open() as db:
        ...     db.put_many({"user:1": {"age": 31}, "user:2": {"age": 40}, "user:100": {"age": 29}})
        ...     list(db.keys("user:", where="value.age >= 30")), list(db.keys(pattern=r"\d{3}"))
        (['user:1', 'user:2'], ['user:100'])

        Keys that are UTF-8 come as str, others as bytes. The point in time is kept until the walk is at its end, closed
        (``with db.keys() as keys:``) or forgotten; that of a client for half a minute between two pages. A ``token``
        that reaches only some keys needs a walk within one of its prefixes.
        """
        return self._walk(prefix, start, end, consistency, _native.KEYS, timeout, token, selection)

    def items(
        self,
        prefix: Key | None = None,
        *,
        start: Key | None = None,
        end: Key | None = None,
        consistency: Consistency | None = None,
        timeout: float | None = None,
        token: str | None = None,
        **selection: Unpack[Selection],
    ) -> _native.Scan[tuple[Key, Any]]:
        """Walk over keys and values; see :meth:`keys`."""
        return self._walk(prefix, start, end, consistency, _native.ITEMS, timeout, token, selection)

    def records(
        self,
        prefix: Key | None = None,
        *,
        start: Key | None = None,
        end: Key | None = None,
        consistency: Consistency | None = None,
        timeout: float | None = None,
        token: str | None = None,
        **selection: Unpack[Selection],
    ) -> _native.Scan[tuple[Key, Record]]:
        """Walk over keys and records (value, revision, ttl); see :meth:`keys`."""
        return self._walk(prefix, start, end, consistency, _native.RECORDS, timeout, token, selection)

    def values(
        self, prefix: Key | None = None, *, token: str | None = None, **selection: Unpack[Selection]
    ) -> Iterator[Any]:
        """Walk over the values, in the order of their keys; see :meth:`keys`."""
        return (value for _, value in self.items(prefix, token=token, **selection))

    def _walk(
        self,
        prefix: Key | None,
        start: Key | None,
        end: Key | None,
        consistency: Consistency | None,
        kind: int,
        timeout: float | None,
        token: str | None,
        selection: Selection,
    ) -> _native.Scan[Any]:
        if not selection:
            return self._scan(prefix, start, end, consistency, kind, timeout, token)
        selector = self._selector(token, _native.SCOPE_READ, prefix, selection)
        return self._scan(None, start, end, consistency, kind, timeout, token, selector)

    def _selector(self, token: str | None, scope: int, prefix: Key | None, selection: Selection) -> tuple[Any, ...]:
        """A selector as the extension takes it; what the token says goes before what is wrong with it."""
        try:
            return native_selector(prefix, **selection)
        except ConcordError:
            self._authorize(token, scope, None)
            raise

    def count(  # type: ignore[override]
        self,
        prefix: Key | None = None,
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,
        token: str | None = None,
        **selection: Unpack[Selection],
    ) -> int:
        """How many records there are that :meth:`keys` would walk over."""
        selector = self._selector(token, _native.SCOPE_READ, prefix, selection)
        return super().count(selector, consistency=consistency, timeout=timeout, token=token)

    def delete_where(  # type: ignore[override]
        self,
        prefix: Key | None = None,
        *,
        timeout: float | None = None,
        token: str | None = None,
        **selection: Unpack[Selection],
    ) -> int:
        """Remove every record that :meth:`keys` would walk over, as one change; how many these were.

        All or none are removed, and nobody sees a part of it; other writes wait meanwhile. What is meant must be said:
        ``delete_where("")`` removes everything, ``delete_where()`` raises InvalidConditionError.

        >>> import concord_kv
        >>> with concord_kv.open() as db:
        ...     db.put_many({"temp:1": 1, "temp:2": 2, "kept": 3})
        ...     db.delete_where("temp:", where="value > 1"), db.delete_where("temp:"), list(db)
        (1, 1, ['kept'])
        """
        selector = self._selector(token, _native.SCOPE_WRITE, prefix, selection)
        return super().delete_where(selector, timeout=timeout, token=token)

    def get_all(self, *, consistency: Consistency | None = None, token: str | None = None) -> dict[Key, Any]:
        """Everything at one point in time."""
        return dict(self.items(consistency=consistency, token=token))

    def get_all_with_ttl(
        self, *, consistency: Consistency | None = None, token: str | None = None
    ) -> dict[Key, tuple[Any, float | None]]:
        """Everything at one point in time: (value, remaining seconds or None) for each key."""
        records = self.records(consistency=consistency, token=token)
        return {key: (record.value, record.ttl) for key, record in records}

    def status(self, *, token: str | None = None) -> dict[str, Any]:
        """What the store is doing: ``cluster`` (state, ready, leader, ...), ``storage`` (size, memory), ``node``."""
        if token is not None:
            with self.with_token(token) as named:
                return named.status()
        status: dict[str, Any] = json.loads(self._status_json())
        return status

    def members(self, *, token: str | None = None) -> builtins.list[dict[str, Any]]:
        """Members of the cluster; see :meth:`concord_kv.Cluster.members`."""
        if token is not None:
            with self.with_token(token) as named:
                return named.members()
        members: builtins.list[dict[str, Any]] = json.loads(self._members_json())
        return members


def open(
    path: Path | None = None,
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
    listen: str | None = None,
    advertise: str | None = None,
    name: str | None = None,
    seeds: Iterable[str] | str | None = None,
    bootstrap_expect: int | None = None,
    cookie: str | None = None,
    multicast: bool | str | None = None,
    tls: Tls | None = None,
    election_timeout_ms: int | None = None,
    promote: bool | None = None,
    auth_enabled: bool | None = None,
    api_port: int | Literal[False] | None = None,
    api_ip: str | None = None,
    prometheus_port: int | Literal[False] | None = None,
    api_tls_certificate: Path | None = None,
    api_tls_private_key: Path | None = None,
    api_body_bytes_max: int | None = None,
    api_connections_max: int | None = None,
    allow_open: bool | None = None,
    local_socket: bool | None = None,
    telemetry_enabled: bool | None = None,
    hot_keys: bool | None = None,
    metrics_keys: bool | None = None,
) -> Db:
    """Open a store and wait until it has recovered.

    ``path``: its directory, created with mode 0700. None: the environment's CONCORD_DATA_DIR, else in memory.
    ``durability``: ``"always"`` (the default: an acknowledged write is on disk), ``"interval"`` (on disk at most
    ``interval_ms`` later, 1 to 60,000, by default 100) or ``"memory"`` (nothing is written).
    ``default_consistency``: level of reads that name none, ``"eventual"``, ``"leader"`` (the default) or ``"strong"``.
    ``compression``: ``"zlib"`` (the default), ``"gzip"`` or False, of values larger than
    ``compression_threshold_bytes`` (1,024) with ``compression_level`` 1 to 9 (6).
    ``value_bytes_max``: largest encoded value, 1,024 bytes to 64 MiB (16 MiB).
    ``expiry_interval_ms``: how often expired records are removed from memory, 10 to 3,600,000 (1,000).
    ``snapshot_log_bytes``: the log is compacted when it grew by this much (64 MiB).

    Any of the following makes the store a member of a cluster, which then serves once ``db.cluster.ready``:

    ``listen``: ``"host:port"`` for other nodes and clients (``"127.0.0.1:7400"``; port 0 takes any); ``advertise``:
    under which address they reach it, when that is another. ``name``: for people. ``seeds``: ``["host:port", ...]`` of
    nodes that may be there already. ``cookie``: the secret that all members share (or the environment's
    CONCORD_COOKIE). ``bootstrap_expect``: how many nodes found a new cluster together, 1 to 9; 0 (the default) joins an
    existing one only. ``multicast``: True finds the others on the local network, ``"group:port"`` by another group.
    ``tls``: a :class:`Tls`. ``election_timeout_ms``: 100 to 60,000 (200). ``promote``: False keeps it a learner until
    ``db.cluster.promote``.

    ``open("dir", listen="10.0.0.1:7400", seeds=["10.0.0.2:7400", "10.0.0.3:7400"], bootstrap_expect=3, cookie=secret)``

    ``auth_enabled``: True makes every call need a token (or CONCORD_AUTH_ENABLED; else False), see
    :meth:`Db.with_token`; ``db.as_admin().tokens.create`` makes the first one.

    What the store serves over HTTP until it is closed, nothing by default:

    ``api_port``: the API, the console and /metrics (or CONCORD_API_PORT); 0 takes any, see ``db.api_address``; False is
    none, whatever the environment says. ``prometheus_port``: /metrics alone, in the same way (or
    CONCORD_PROMETHEUS_PORT). ``api_ip``: of both (or CONCORD_API_IP; else ``"127.0.0.1"``).
    ``api_tls_certificate`` and ``api_tls_private_key``: PEM files (or CONCORD_API_TLS_CERTIFICATE and _PRIVATE_KEY).
    ``api_body_bytes_max``: largest request, 1,024 bytes to 64 MiB (8 MiB). ``api_connections_max``: at once, 1 to
    65,536 (1,024). ``allow_open``: True serves addresses other than loopback without tokens, which is refused
    otherwise.

    ``local_socket``: False serves no programs of the same user through ``concord.sock`` in the directory (or
    CONCORD_LOCAL_SOCKET). ``telemetry_enabled``: False counts nothing for :meth:`Db.metrics_text` (or
    CONCORD_TELEMETRY_ENABLED). ``hot_keys``: False looks for no keys that are used most (or CONCORD_HOT_KEYS).
    ``metrics_keys``: True shows those as they are and not as salted hashes (or CONCORD_METRICS_KEYS).

    ``open("dir", auth_enabled=True, api_port=4000, prometheus_port=9568)``

    Raises LockedError when the directory is open already, CorruptError when what it holds is damaged, IoError,
    InvalidConfigError, also for an HTTP address that is taken. Blocks while the log is read.
    """
    return Db(
        path,
        durability=durability,
        interval_ms=interval_ms,
        default_consistency=default_consistency,
        compression=compression,
        compression_level=compression_level,
        compression_threshold_bytes=compression_threshold_bytes,
        value_bytes_max=value_bytes_max,
        expiry_interval_ms=expiry_interval_ms,
        snapshot_log_bytes=snapshot_log_bytes,
        listen=listen,
        advertise=advertise,
        name=name,
        seeds=seeds,
        bootstrap_expect=bootstrap_expect,
        cookie=cookie,
        multicast=multicast,
        tls=tls,
        election_timeout_ms=election_timeout_ms,
        promote=promote,
        auth_enabled=auth_enabled,
        api_port=api_port,
        api_ip=api_ip,
        prometheus_port=prometheus_port,
        api_tls_certificate=api_tls_certificate,
        api_tls_private_key=api_tls_private_key,
        api_body_bytes_max=api_body_bytes_max,
        api_connections_max=api_connections_max,
        allow_open=allow_open,
        local_socket=local_socket,
        telemetry_enabled=telemetry_enabled,
        hot_keys=hot_keys,
        metrics_keys=metrics_keys,
    )


def connect(
    addresses: Iterable[str] | str | None = None,
    *,
    data_dir: Path | None = None,
    cookie: str | None = None,
    token: str | None = None,
    tls: Tls | None = None,
    timeout: float | None = None,
    default_consistency: Consistency | None = None,
    compression: Literal["zlib", "gzip", False] | None = None,
    compression_level: int | None = None,
    compression_threshold_bytes: int | None = None,
) -> Db:
    """Reach a cluster without being a member of it: the same verbs, nothing kept here.

    ``addresses``: ``"host:port,host:port"`` or a list of some members; the others are learned from them. It follows
    the leader, survives fail-over and spreads eventual reads over the members.
    ``token``: what it allows is what the client may do (or the environment's CONCORD_TOKEN). ``cookie``: instead of it
    the cluster's secret, which may do everything (or CONCORD_COOKIE). Neither is ever sent.
    ``tls``: a :class:`Tls` (or CONCORD_TLS_CERTIFICATE, _PRIVATE_KEY and _AUTHORITY). ``timeout``: seconds until the
    first member has to answer, at most 600 (5). The others are as in :func:`open`.

    ``with concord_kv.connect("10.0.0.1:7400,10.0.0.2:7400", cookie=secret) as db: db.put("a", 1)``

    ``data_dir`` instead of addresses: the store that another program of the same user, or this one, has open in that
    directory on this machine. It gives every right; no cookie and no token is used, and the environment is not looked
    at. ``with concord_kv.connect(data_dir="data") as db: ...``

    A server that forks its workers connects in each of them, after the fork. Raises UnauthorizedError when the cookie
    is another or the token is not valid, TimedOutError when nobody answers, NoprocError when no store is open in
    ``data_dir``, InvalidConfigError.
    """
    options = native_client(
        addresses,
        data_dir,
        cookie,
        token,
        tls,
        timeout,
        default_consistency,
        compression,
        compression_level,
        compression_threshold_bytes,
    )
    client = interruptible(lambda: Db._connect(*options), Db.close)
    _open_stores.add(client)
    return client


@atexit.register
def _close_all() -> None:
    for store in builtins.list(_open_stores):
        store.close()


__all__ = ["ABSENT", "Absent", "Db", "NotFoundError", "connect", "open"]
