"""The extension module: the value codec, the store and its asyncio queue. Private to concord_kv."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

from typing_extensions import Self

from concord_kv.options import Consistency
from concord_kv.values import Record

_Default = TypeVar("_Default")
_Item = TypeVar("_Item")
_Key = str | bytes

KEYS: Final = 0
ITEMS: Final = 1
RECORDS: Final = 2

PROMOTE: Final = 0
REMOVE: Final = 1
REPLACE: Final = 2
TRANSFER_LEADERSHIP: Final = 3
LEAVE: Final = 4

SCOPE_READ: Final = 1
SCOPE_WRITE: Final = 2
SCOPE_ADMIN: Final = 4

def version() -> str: ...
def encode(value: Any, /) -> bytes: ...
def decode(data: bytes, /) -> Any: ...
def expression_check(expression: bytes, /) -> None: ...
def expression_holds(
    expression: bytes, key: bytes | None, value: bytes, revision: int, ttl: float | None, /
) -> bool: ...

class Scan(Iterator[_Item]):
    def __next__(self) -> _Item: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...
    def close(self) -> None: ...

class Store:
    """An open store; made by concord_kv.open()."""

    def __new__(
        cls,
        path: bytes | None,
        durability: int,
        interval_ms: int,
        consistency: int,
        compression: int,
        compression_level: int,
        compression_threshold_bytes: int,
        value_bytes_max: int,
        expiry_interval_ms: int,
        snapshot_log_bytes: int,
        cluster: tuple[Any, ...] | None = None,
        http: tuple[Any, ...] | None = None,
        switches: tuple[int, ...] = ...,
    ) -> Self: ...
    @classmethod
    def _connect(cls, *options: Any) -> Self: ...
    @property
    def closed(self) -> bool: ...
    def __getitem__(self, key: _Key, /) -> Any: ...
    def __setitem__(self, key: _Key, value: Any, /) -> None: ...
    def __delitem__(self, key: _Key, /) -> None: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def get(
        self,
        key: _Key,
        default: Any = None,
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> Any: ...
    def get_record(
        self,
        key: _Key,
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> Record: ...
    def get_with_ttl(
        self,
        key: _Key,
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> tuple[Any, float | None]: ...
    def ttl(
        self,
        key: _Key,
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> float | None: ...
    def get_many(
        self,
        keys: Iterable[_Key],
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> dict[_Key, Any]: ...
    def put(
        self,
        key: _Key,
        value: Any,
        ttl: float | None = None,
        *,
        compress: bool | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> None: ...
    def put_new(
        self,
        key: _Key,
        value: Any,
        ttl: float | None = None,
        *,
        compress: bool | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> None: ...
    def put_if(
        self,
        key: _Key,
        value: Any,
        *,
        expected: Any = ...,
        revision: int = ...,
        where: str = ...,
        ttl: float | None = None,
        compress: bool | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> None: ...
    def delete(self, key: _Key, *, timeout: float | None = None, token: str | None = None) -> None: ...
    def delete_if(
        self,
        key: _Key,
        *,
        expected: Any = ...,
        revision: int = ...,
        where: str = ...,
        timeout: float | None = None,
        token: str | None = None,
    ) -> None: ...
    def increment(
        self,
        key: _Key,
        by: int = 1,
        *,
        initial: int = 0,
        ttl: float | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> int: ...
    def touch(self, key: _Key, ttl: float, *, timeout: float | None = None, token: str | None = None) -> None: ...
    def put_many(
        self,
        items: Mapping[Any, Any] | Iterable[tuple[Any, ...]],
        *,
        ttl: float | None = None,
        compress: bool | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> None: ...
    def delete_many(self, keys: Iterable[_Key], *, timeout: float | None = None, token: str | None = None) -> None: ...
    def touch_many(
        self,
        items: Mapping[Any, float] | Iterable[tuple[_Key, float]],
        *,
        timeout: float | None = None,
        token: str | None = None,
    ) -> Any: ...
    def count(
        self,
        selector: tuple[Any, ...],
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,
        token: str | None = None,
    ) -> int: ...
    def delete_where(
        self, selector: tuple[Any, ...], *, timeout: float | None = None, token: str | None = None
    ) -> int: ...
    def _scan(
        self,
        prefix: _Key | None,
        start: _Key | None,
        end: _Key | None,
        consistency: Consistency | None,
        kind: int,
        timeout: float | None = None,
        token: str | None = None,
        selector: tuple[Any, ...] | None = None,
        /,
    ) -> Scan[Any]: ...
    def _status_json(self) -> str: ...
    def _members_json(self) -> str: ...
    def _tokens_json(self) -> str: ...
    def _api_address(self) -> str: ...
    def _prometheus_address(self) -> str: ...
    def metrics_text(self) -> str: ...
    @property
    def _is_client(self) -> bool: ...
    def _authorize(self, token: str | None, scopes: int, key: object, /) -> None: ...
    def _with_token(self, token: str, /) -> Self: ...
    def _as_admin(self) -> Self: ...
    def _auth_enabled(self) -> bool: ...
    def _token_create(
        self, name: bytes, scopes: int, prefixes: tuple[bytes, ...], ttl: float | None, /
    ) -> tuple[str, str]: ...
    def _token_revoke(self, id_or_token: str, /) -> None: ...
    def _is_ready(self) -> bool: ...
    def _wait_ready(self, timeout: float | None, /) -> None: ...
    def _reads_at_once(self, consistency: Consistency | None, /) -> bool: ...
    def _cluster_add(self, address: bytes, timeout: float | None, /) -> int: ...
    def _cluster_change(self, change: int, node_id: int, other: int, timeout: float | None, /) -> None: ...
    def close(self) -> None: ...

class Queue:
    """Calls of one store that answer with futures of one event loop; arguments as in Store."""

    def __new__(cls, store: Store, loop: asyncio.AbstractEventLoop, arm: Callable[[], object]) -> Queue: ...
    @property
    def in_flight(self) -> int: ...
    def put(self, key: _Key, value: Any, ttl: float | None = None, **options: Any) -> asyncio.Future[None]: ...
    def put_new(self, key: _Key, value: Any, ttl: float | None = None, **options: Any) -> asyncio.Future[None]: ...
    def put_if(self, key: _Key, value: Any, **options: Any) -> asyncio.Future[None]: ...
    def delete(self, key: _Key, **options: Any) -> asyncio.Future[None]: ...
    def delete_if(self, key: _Key, **options: Any) -> asyncio.Future[None]: ...
    def increment(self, key: _Key, by: int = 1, **options: Any) -> asyncio.Future[int]: ...
    def touch(self, key: _Key, ttl: float, **options: Any) -> asyncio.Future[None]: ...
    def put_many(self, items: Any, **options: Any) -> asyncio.Future[None]: ...
    def delete_many(self, keys: Iterable[_Key], **options: Any) -> asyncio.Future[None]: ...
    def touch_many(self, items: Any, **options: Any) -> asyncio.Future[list[bool]]: ...
    def get_record(self, key: _Key, **options: Any) -> asyncio.Future[Record]: ...
    def count(self, selector: tuple[Any, ...], **options: Any) -> asyncio.Future[int]: ...
    def delete_where(self, selector: tuple[Any, ...], **options: Any) -> asyncio.Future[int]: ...
    def drain(self) -> None: ...
    def expire(self) -> bool: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...
