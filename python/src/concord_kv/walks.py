"""Walks: the verbs of an asyncio store about many records."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from concord_kv import _native
from concord_kv.errors import ConcordError, TimedOutError
from concord_kv.options import Consistency
from concord_kv.selection import Key, Selection, looks_far, native_selector

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from concord_kv.aio import AioDb
    from concord_kv.db import Db
    from concord_kv.values import Record

T = TypeVar("T")

STEPS_A_TURN = 256
"""An asynchronous iterator lets other tasks run after so many steps."""

MOMENT_S = 0.001
"""What a read may take on the loop's thread: those that answer at once take microseconds."""


class AioWalks:
    """What :class:`concord_kv.aio.AioDb` has for many records. Get a walk's end early with ``contextlib.aclosing``."""

    if TYPE_CHECKING:
        _db: Db
        _queue: _native.Queue

        async def _holder(self, token: str) -> AioDb: ...
        async def _queue_of(self, token: str) -> _native.Queue: ...
        async def _beside(self, call: Callable[[], T]) -> T: ...

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
    ) -> AsyncGenerator[Key, None]:
        """Walk over the keys as they are now; see :meth:`concord_kv.Db.keys`."""
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
    ) -> AsyncGenerator[tuple[Key, Any], None]:
        """Walk over keys and values as they are now; see :meth:`concord_kv.Db.keys`."""
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
    ) -> AsyncGenerator[tuple[Key, Record], None]:
        """Walk over keys and records as they are now; see :meth:`concord_kv.Db.keys`."""
        return self._walk(prefix, start, end, consistency, _native.RECORDS, timeout, token, selection)

    async def count(
        self,
        prefix: Key | None = None,
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,
        token: str | None = None,
        **selection: Unpack[Selection],
    ) -> int:
        """How many records there are; see :meth:`concord_kv.Db.count`."""
        queue = self._queue if token is None else await self._queue_of(token)
        selector = await self._selector(token, _native.SCOPE_READ, prefix, selection)
        return await queue.count(selector, consistency=consistency, timeout=timeout)

    async def delete_where(
        self,
        prefix: Key | None = None,
        *,
        timeout: float | None = None,
        token: str | None = None,
        **selection: Unpack[Selection],
    ) -> int:
        """Remove what is picked, as one change; see :meth:`concord_kv.Db.delete_where`."""
        queue = self._queue if token is None else await self._queue_of(token)
        selector = await self._selector(token, _native.SCOPE_WRITE, prefix, selection)
        return await queue.delete_where(selector, timeout=timeout)

    async def _selector(
        self, token: str | None, scope: int, prefix: Key | None, selection: Selection
    ) -> tuple[Any, ...]:
        """A selector as the extension takes it; what the token says goes before what is wrong with it."""
        try:
            return native_selector(prefix, **selection)
        except ConcordError:
            await self._beside(lambda: self._db._authorize(token, scope, None))
            raise

    async def _walk(
        self,
        prefix: Key | None,
        start: Key | None,
        end: Key | None,
        consistency: Consistency | None,
        kind: int,
        timeout: float | None,
        token: str | None,
        selection: Selection,
    ) -> AsyncGenerator[Any, None]:
        db = self._db if token is None else (await self._holder(token))._db
        selector = await self._selector(token, _native.SCOPE_READ, prefix, selection) if selection else None
        name = None if selection else prefix
        walk = None
        if db._reads_at_once(consistency) and not looks_far(selection):
            with contextlib.suppress(TimedOutError):  # it was so a moment ago
                walk = db._scan(name, start, end, consistency, kind, MOMENT_S, None, selector)
        if walk is not None:
            with walk:
                for step, item in enumerate(walk, 1):
                    yield item
                    if step % STEPS_A_TURN == 0:
                        await asyncio.sleep(0)
            return
        # Its beginning and its steps may wait for other nodes, or look at many records.
        walk = await self._beside(lambda: db._scan(name, start, end, consistency, kind, timeout, None, selector))
        with walk:
            while items := await self._beside(lambda: list(itertools.islice(walk, STEPS_A_TURN))):
                for item in items:
                    yield item

    async def get_all(self, *, consistency: Consistency | None = None, token: str | None = None) -> dict[Key, Any]:
        """Everything at one point in time."""
        return {key: value async for key, value in self.items(consistency=consistency, token=token)}

    async def get_all_with_ttl(
        self, *, consistency: Consistency | None = None, token: str | None = None
    ) -> dict[Key, tuple[Any, float | None]]:
        """Everything at one point in time: (value, remaining seconds or None) for each key."""
        records = self.records(consistency=consistency, token=token)
        return {key: (record.value, record.ttl) async for key, record in records}
