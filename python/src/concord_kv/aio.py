"""Concord for asyncio: the verbs of :class:`concord_kv.Db` as coroutines.

>>> import asyncio
>>> from concord_kv import aio
>>> async def main():
...     async with aio.open() as db:
...         await db.put("greeting", "hello")
...         return await db.get("greeting")
>>> asyncio.run(main())
'hello'

Writes, and reads that have to ask other nodes, are handed over and answered through a completion queue whose
descriptor the event loop watches: thousands may be in flight. A store belongs to the loop that opened it. Cancelling an
await gives up the answer, not the write.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Literal, TypeVar

from concord_kv import _native
from concord_kv.cluster import Cluster, Node
from concord_kv.db import UNSET, Db, Key, native_condition, pairs_with_ttl, touch_items
from concord_kv.db import connect as db_connect
from concord_kv.errors import ConcordError, ConditionFailedError, InvalidTtlError, NotFoundError, TimedOutError
from concord_kv.options import Consistency, Durability, Path, Tls
from concord_kv.tokens import AioTokens
from concord_kv.values import Record
from concord_kv.walks import MOMENT_S, AioWalks

T = TypeVar("T")

EXPIRY_INTERVAL_S = 0.1
"""How often overdue calls are looked for while any is under way."""

HOLDERS_MAX = 64
"""Tokens of single calls for which a handle is kept."""

WAIT_S_DEFAULT = 5.0
WAIT_SLICE_S = 0.5
"""Waiting until a node is ready: how long when nothing is said, and how long at once."""


class AioDb(AioWalks):
    """An open store for one event loop; made by :func:`open`. Use it as an asynchronous context manager."""

    def __init__(self, db: Db, loop: asyncio.AbstractEventLoop) -> None:
        """Wrap an open store. It is the loop's from now on and closed with this object."""
        self._db = db
        self._loop = loop
        self._queue = _native.Queue(db, loop, self._arm)
        self._descriptor = self._queue.fileno()
        loop.add_reader(self._descriptor, self._queue.drain)
        self._is_closing = False
        self._holders: dict[str, asyncio.Task[AioDb]] = {}

    async def __aenter__(self) -> AioDb:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<concord_kv.aio.AioDb {'closed' if self.closed else 'open'}>"

    def _arm(self) -> None:
        """Look after a while whether somebody waits too long; called when the first call is under way."""
        self._loop.call_later(EXPIRY_INTERVAL_S, self._expire)

    def _expire(self) -> None:
        if self._queue.expire():
            self._arm()

    @property
    def closed(self) -> bool:
        """Whether the store was closed (or belongs to the parent of a fork)."""
        return self._is_closing or self._db.closed

    async def close(self) -> None:
        """Close the store; what is acknowledged is safe. Closing twice is fine.

        Writes that are still under way end with their answer or with UnknownOutcomeError. A handle for a token leaves
        the store open.
        """
        if self._is_closing:
            return
        self._is_closing = True
        holders, self._holders = list(self._holders.values()), {}
        try:
            await self._loop.run_in_executor(None, self._db.close)
        finally:
            self._loop.remove_reader(self._descriptor)
            self._queue.close()
            for holder in await asyncio.gather(*holders, return_exceptions=True):
                if isinstance(holder, AioDb):
                    await holder.close()

    # ---- tokens ----

    def with_token(self, token: str) -> Opening:
        """The same store for the holder of a token; see :meth:`concord_kv.Db.with_token`.

        ``async with db.with_token(token) as app:`` or ``app = await db.with_token(token)``. Closing it leaves the store
        open.
        """
        return Opening(lambda: self._db.with_token(token))

    def as_admin(self) -> AioDb:
        """The same store with every right; see :meth:`concord_kv.Db.as_admin`."""
        return AioDb(self._db.as_admin(), self._loop)

    @property
    def auth_enabled(self) -> bool:
        """Whether calls need a token."""
        return self._db.auth_enabled

    @property
    def tokens(self) -> AioTokens:
        """Who may do what; the verbs of :class:`concord_kv.Tokens` as coroutines."""
        return AioTokens(self)

    async def _holder(self, token: str) -> AioDb:
        """The handle for a token that single calls name; made beside the loop, for its first use may ask others."""
        known = self._holders.pop(token, None) if isinstance(token, str) else None
        if known is None:
            self._forget_idle_holders()
            known = self._loop.create_task(self.with_token(token)._open())
        self._holders[token] = known  # the one that was used last is last
        try:
            return await asyncio.shield(known)
        except Exception:
            if self._holders.get(token) is known:
                del self._holders[token]
            raise

    def _forget_idle_holders(self) -> None:
        for token, task in list(self._holders.items()):
            if len(self._holders) < HOLDERS_MAX:
                return
            if not task.done():
                continue
            if task.cancelled() or task.exception() is not None:  # nobody waited for it any more
                del self._holders[token]
            elif not task.result()._queue.in_flight:
                del self._holders[token]
                self._closing = self._loop.create_task(task.result().close())

    async def _queue_of(self, token: str) -> _native.Queue:
        return (await self._holder(token))._queue

    # ---- what the store serves and counts ----

    @property
    def api_address(self) -> str | None:
        """Where the HTTP API is served, None when it is not."""
        return self._db.api_address

    @property
    def prometheus_address(self) -> str | None:
        """Where /metrics alone is served, None when it is not."""
        return self._db.prometheus_address

    def metrics_text(self) -> str:
        """All metrics in Prometheus text format; see :meth:`concord_kv.Db.metrics_text`."""
        return self._db.metrics_text()

    @property
    def cluster(self) -> AioCluster:
        """Who the members are and who leads; the verbs of :class:`concord_kv.Cluster` as coroutines."""
        return AioCluster(self)

    async def _beside(self, call: Callable[[], T]) -> T:
        """Run a call that may block beside the loop."""
        return await self._loop.run_in_executor(None, call)

    # ---- reads: answered at once where this node may, otherwise through the queue; never blocking the loop ----

    async def _record(
        self, key: Key, consistency: Consistency | None, timeout: float | None, token: str | None = None
    ) -> Record:
        if token is not None:
            return await (await self._holder(token))._record(key, consistency, timeout)
        if self._db._reads_at_once(consistency):
            try:
                return self._db.get_record(key, consistency=consistency, timeout=MOMENT_S)
            except TimedOutError:
                pass  # it was so a moment ago
        return await self._queue.get_record(key, consistency=consistency, timeout=timeout)

    async def get(
        self,
        key: Key,
        default: Any = None,
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> Any:
        """Value of a key, or ``default`` when it is missing or has expired."""
        if token is not None:
            return await (await self._holder(token)).get(key, default, consistency=consistency, timeout=timeout)
        if self._db._reads_at_once(consistency):
            try:
                return self._db.get(key, default, consistency=consistency, timeout=MOMENT_S)
            except TimedOutError:
                pass  # it was so a moment ago
        try:
            return (await self._queue.get_record(key, consistency=consistency, timeout=timeout)).value
        except NotFoundError:
            return default

    async def get_record(
        self,
        key: Key,
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> Record:
        """Value, revision and remaining TTL of a key. Raises NotFoundError."""
        return await self._record(key, consistency, timeout, token)

    async def get_with_ttl(
        self,
        key: Key,
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> tuple[Any, float | None]:
        """(value, remaining seconds or None). Raises NotFoundError."""
        record = await self._record(key, consistency, timeout, token)
        return record.value, record.ttl

    async def ttl(
        self,
        key: Key,
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> float | None:
        """Remaining seconds, None when the key lives for ever. Raises NotFoundError."""
        return (await self._record(key, consistency, timeout, token)).ttl

    async def contains(self, key: Key, *, token: str | None = None) -> bool:
        """Whether a key exists."""
        try:
            await self._record(key, None, None, token)
        except NotFoundError:
            return False
        return True

    async def get_many(
        self,
        keys: Iterable[Key],
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> dict[Key, Any]:
        """Values of up to 500 keys at one point in time; missing keys are left out."""
        if token is not None:
            return await (await self._holder(token)).get_many(keys, consistency=consistency, timeout=timeout)
        wanted = list(keys)
        if self._db._reads_at_once(consistency):
            try:
                return self._db.get_many(wanted, consistency=consistency, timeout=MOMENT_S)
            except TimedOutError:
                pass  # it was so a moment ago
        return await self._beside(lambda: self._db.get_many(wanted, consistency=consistency, timeout=timeout))

    async def status(self, *, token: str | None = None) -> dict[str, Any]:
        """What the store is doing."""
        return await self._beside(lambda: self._db.status(token=token))

    async def members(self, *, token: str | None = None) -> list[dict[str, Any]]:
        """Members of the cluster."""
        return await self._beside(lambda: self._db.members(token=token))

    # ---- writes: handed over at once, answered through the queue ----

    async def put(
        self,
        key: Key,
        value: Any,
        ttl: float | None = None,
        *,
        compress: bool | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> None:
        """Store a value. Without a TTL (seconds) an old TTL of the key is removed."""
        queue = self._queue if token is None else await self._queue_of(token)
        await queue.put(key, value, ttl, compress=compress, timeout=timeout)

    async def put_with_ttl(
        self, key: Key, value: Any, ttl: float, *, timeout: float | None = None, token: str | None = None
    ) -> None:
        """Store a value that lives for ``ttl`` seconds."""
        queue = self._queue if token is None else await self._queue_of(token)
        if ttl is None:
            await self._judge(token, key)
            raise InvalidTtlError("put_with_ttl needs a TTL; use put without")
        await queue.put(key, value, ttl, timeout=timeout)

    async def put_new(
        self,
        key: Key,
        value: Any,
        ttl: float | None = None,
        *,
        compress: bool | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> None:
        """Store a value if the key does not exist. Raises AlreadyExistsError."""
        queue = self._queue if token is None else await self._queue_of(token)
        await queue.put_new(key, value, ttl, compress=compress, timeout=timeout)

    async def put_if(
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
        """Store a value if a condition holds; see :meth:`concord_kv.Db.put_if`. The function may be a coroutine's."""
        options: dict[str, Any] = {"ttl": ttl, "compress": compress, "timeout": timeout}
        queue = self._queue if token is None else await self._queue_of(token)
        try:
            native = native_condition(expected, condition, revision)
        except ConcordError:
            await self._judge(token, key)
            raise
        if native or condition is None or isinstance(condition, str):
            return await queue.put_if(key, value, **native, **options)
        while True:
            seen = await self._approved(key, condition, token)
            try:
                return await queue.put_if(key, value, revision=seen, **options)
            except ConditionFailedError:
                continue

    async def delete(self, key: Key, *, timeout: float | None = None, token: str | None = None) -> None:
        """Remove a key; a missing one is fine."""
        queue = self._queue if token is None else await self._queue_of(token)
        await queue.delete(key, timeout=timeout)

    async def delete_if(
        self,
        key: Key,
        *,
        expected: Any = UNSET,
        condition: str | Callable[[Any], object] | None = None,
        revision: int | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> None:
        """Remove a key if a condition holds; see :meth:`concord_kv.Db.put_if`."""
        queue = self._queue if token is None else await self._queue_of(token)
        try:
            native = native_condition(expected, condition, revision)
        except ConcordError:
            await self._judge(token, key)
            raise
        if native or condition is None or isinstance(condition, str):
            return await queue.delete_if(key, **native, timeout=timeout)
        while True:
            seen = await self._approved(key, condition, token)
            try:
                return await queue.delete_if(key, revision=seen, timeout=timeout)
            except ConditionFailedError:
                continue

    async def _judge(self, token: str | None, key: Key | None) -> None:
        """Raise what the token says of a write, which goes before what else is wrong with it."""
        await self._beside(lambda: self._db._authorize(token, _native.SCOPE_WRITE, key))

    async def _approved(self, key: Key, condition: Callable[[Any], object], token: str | None) -> int:
        """Revision of the record that the condition accepts."""
        record = await self._record(key, None, None, token)
        verdict = condition(record.value)
        if inspect.isawaitable(verdict):
            verdict = await verdict
        if not verdict:
            raise ConditionFailedError("the condition does not hold for the current value")
        return record.revision

    async def increment(
        self,
        key: Key,
        by: int = 1,
        *,
        initial: int = 0,
        ttl: float | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> int:
        """Add to an integer atomically and answer the sum; a missing key counts as ``initial`` first."""
        queue = self._queue if token is None else await self._queue_of(token)
        return await queue.increment(key, by, initial=initial, ttl=ttl, timeout=timeout)

    async def touch(self, key: Key, ttl: float, *, timeout: float | None = None, token: str | None = None) -> None:
        """Make the remaining lifetime of an existing key ``ttl`` seconds. Raises NotFoundError."""
        queue = self._queue if token is None else await self._queue_of(token)
        await queue.touch(key, ttl, timeout=timeout)

    async def put_many(
        self,
        items: Mapping[Any, Any] | Iterable[tuple[Any, ...]],
        *,
        ttl: float | None = None,
        compress: bool | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> None:
        """Store up to 500 records, all or none: a mapping, or (key, value) or (key, value, ttl) tuples."""
        queue = self._queue if token is None else await self._queue_of(token)
        await queue.put_many(items, ttl=ttl, compress=compress, timeout=timeout)

    async def put_many_with_ttl(
        self,
        items: Mapping[Any, Any] | Iterable[tuple[Key, Any]],
        ttl: float,
        *,
        compress: bool | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> None:
        """Store up to 500 records that live for ``ttl`` seconds, all or none."""
        queue = self._queue if token is None else await self._queue_of(token)
        try:
            triples = pairs_with_ttl(items, ttl)
        except ConcordError:
            await self._judge(token, None)
            raise
        await queue.put_many(triples, compress=compress, timeout=timeout)

    async def delete_many(self, keys: Iterable[Key], *, timeout: float | None = None, token: str | None = None) -> None:
        """Remove up to 500 keys, all or none."""
        queue = self._queue if token is None else await self._queue_of(token)
        await queue.delete_many(keys, timeout=timeout)

    async def touch_many(
        self,
        items: Mapping[Any, float] | Iterable[tuple[Key, float]],
        *,
        timeout: float | None = None,
        token: str | None = None,
    ) -> dict[Key, bool]:
        """Set the remaining lifetimes of up to 500 keys; for each whether it existed."""
        listed = touch_items(items)
        queue = self._queue if token is None else await self._queue_of(token)
        found = await queue.touch_many(listed, timeout=timeout)
        return {key: existed for (key, _), existed in zip(listed, found, strict=True)}


class AioCluster:
    """The membership verbs of a store or client as coroutines; get it as ``db.cluster``. They never block the loop."""

    __slots__ = ("_cluster", "_db")

    def __init__(self, db: AioDb) -> None:
        """Speak for this store."""
        self._db = db
        self._cluster = Cluster(db._db)

    def __repr__(self) -> str:
        return f"<concord_kv.aio.AioCluster of {self._db!r}>"

    @property
    def ready(self) -> bool:
        """Whether this node serves; see :attr:`concord_kv.Cluster.ready`."""
        return self._cluster.ready

    async def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until this node serves. Raises TimedOutError, whose message says what is missing."""
        loop = asyncio.get_running_loop()
        end = loop.time() + (WAIT_S_DEFAULT if timeout is None else timeout)
        if timeout is not None and not timeout > WAIT_SLICE_S:
            return await self._db._beside(lambda: self._cluster.wait_ready(timeout))
        # In slices, so that a wait that was cancelled soon lets go of its thread.
        while True:
            left = end - loop.time()
            slice_s = max(0.001, min(left, WAIT_SLICE_S))
            try:
                return await self._db._beside(functools.partial(self._cluster.wait_ready, slice_s))
            except TimedOutError:
                if left <= WAIT_SLICE_S:
                    raise

    async def members(self) -> list[dict[str, Any]]:
        """Members of the cluster; see :meth:`concord_kv.Cluster.members`."""
        return await self._db.members()

    async def add(self, address: str, *, timeout: float | None = None) -> int:
        """Take in the node that listens there; its node id. See :meth:`concord_kv.Cluster.add`."""
        return await self._db._beside(lambda: self._cluster.add(address, timeout=timeout))

    async def promote(self, node: Node, *, timeout: float | None = None) -> None:
        """Make a learner that has caught up a voter."""
        await self._db._beside(lambda: self._cluster.promote(node, timeout=timeout))

    async def remove(self, node: Node, *, timeout: float | None = None) -> None:
        """Remove a member for good; see :meth:`concord_kv.Cluster.remove`."""
        await self._db._beside(lambda: self._cluster.remove(node, timeout=timeout))

    async def replace(self, old: Node, new: Node, *, timeout: float | None = None) -> None:
        """Put a learner that has caught up in the place of a voter."""
        await self._db._beside(lambda: self._cluster.replace(old, new, timeout=timeout))

    async def transfer_leadership(self, node: Node | None = None, *, timeout: float | None = None) -> None:
        """Hand leadership to this voter, or to the one that is furthest."""
        await self._db._beside(lambda: self._cluster.transfer_leadership(node, timeout=timeout))

    async def leave(self, *, timeout: float | None = None) -> None:
        """Leave the cluster for good; see :meth:`concord_kv.Cluster.leave`."""
        await self._db._beside(lambda: self._cluster.leave(timeout=timeout))


class Opening:
    """What :func:`open` and :func:`connect` answer: to be awaited, or used with ``async with``."""

    def __init__(self, begin: Callable[[], Db]) -> None:
        """Remember how to open."""
        self._begin = begin
        self._opened: AioDb | None = None

    async def _open(self) -> AioDb:
        loop = asyncio.get_running_loop()
        opening = loop.run_in_executor(None, self._begin)
        try:
            db = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(close_unwanted)
            raise
        return AioDb(db, loop)

    def __await__(self) -> Generator[Any, None, AioDb]:
        return self._open().__await__()

    async def __aenter__(self) -> AioDb:
        self._opened = await self._open()
        return self._opened

    async def __aexit__(self, *exception: object) -> None:
        if self._opened is not None:
            await self._opened.close()


def close_unwanted(opening: asyncio.Future[Db]) -> None:
    """Close a store whose opening was cancelled."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def open(
    path: Path | None = None,
    *,
    durability: Durability | None = None,
    interval_ms: int | None = None,
    default_consistency: Consistency | None = None,
    compression: Literal["zlib", "gzip", False] | None = None,
    **options: Any,
) -> Opening:
    """Open a store for the running event loop; options and errors as in :func:`concord_kv.open`.

    ``async with aio.open("dir") as db:`` or ``db = await aio.open("dir")``.
    """
    options |= {
        "durability": durability,
        "interval_ms": interval_ms,
        "default_consistency": default_consistency,
        "compression": compression,
    }
    return Opening(lambda: Db(path, **options))


def connect(
    addresses: Iterable[str] | str | None = None,
    *,
    data_dir: Path | None = None,
    cookie: str | None = None,
    token: str | None = None,
    tls: Tls | None = None,
    timeout: float | None = None,
    **options: Any,
) -> Opening:
    """Reach a cluster from the running event loop; options and errors as in :func:`concord_kv.connect`.

    ``async with aio.connect("10.0.0.1:7400,10.0.0.2:7400", cookie=secret) as db:`` or ``db = await aio.connect(...)``.
    """
    options |= {"data_dir": data_dir, "cookie": cookie, "token": token, "tls": tls, "timeout": timeout}
    return Opening(lambda: db_connect(addresses, **options))


__all__ = ["AioCluster", "AioDb", "AioTokens", "connect", "open"]
