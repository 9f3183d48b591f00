"""Tokens: who may do what, as ``db.tokens``.

>>> import concord_kv
>>> with concord_kv.open(auth_enabled=True) as db:
...     created = db.as_admin().tokens.create("app", ["read", "write"], prefixes=["app:"], ttl=3600)
...     app = db.with_token(created.token)
...     app["app:a"] = 1
...     db.get("app:a", token=created.token)
1
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

from concord_kv import _native
from concord_kv.cluster import interruptible
from concord_kv.errors import ConcordError, InvalidConfigError
from concord_kv.options import text

if TYPE_CHECKING:
    from concord_kv.aio import AioDb
    from concord_kv.db import Db

Scope = Literal["read", "write", "admin"]
"""What a token allows: reads and the status; writes; everything, membership and tokens included."""

SCOPES: dict[str, int] = {
    "read": _native.SCOPE_READ,
    "write": _native.SCOPE_WRITE,
    "admin": _native.SCOPE_ADMIN,
}


@dataclass(frozen=True)
class TokenInfo:
    """What is known of a token; never the token itself.

    ``id``: 16 hexadecimal digits, by which it is revoked. ``prefixes``: keys that it reaches begin with one of them;
    none means every key; one that is no UTF-8 is bytes. ``created``, ``expires``, ``last_used``: in UTC; None where it
    never expires or was never used, as far as this node knows.
    """

    id: str
    name: str
    scopes: frozenset[str]
    prefixes: tuple[str | bytes, ...]
    created: datetime
    expires: datetime | None
    last_used: datetime | None


@dataclass(frozen=True)
class CreatedToken:
    """A token that was just made. ``token`` is its text, shown this once and stored nowhere; no repr has it."""

    token: str = field(repr=False)
    info: TokenInfo


class Tokens:
    """The verbs that make, list and revoke tokens; get it as ``db.tokens``. They block.

    Each needs the scope ``admin``: of a handle that has it, or ``db.as_admin()``, which is the way to the first token.
    Tokens are part of what is stored: every member of a cluster knows them, and they survive restarts.
    """

    __slots__ = ("_db",)

    def __init__(self, db: Db) -> None:
        """Speak for this store."""
        self._db = db

    def __repr__(self) -> str:
        return f"<concord_kv.Tokens of {self._db!r}>"

    def create(
        self,
        name: str,
        scopes: Iterable[Scope] | Scope,
        *,
        prefixes: Iterable[str | bytes] = (),
        ttl: float | None = None,
    ) -> CreatedToken:
        """Make a token.

        ``name``: for people, up to 64 bytes, need not be unique. ``scopes``: of ``"read"``, ``"write"`` and
        ``"admin"``, at least one. ``prefixes``: it reaches only keys that begin with one of these (at most 32; not with
        ``"admin"``). ``ttl``: seconds that it is valid; None until it is revoked.

        Raises UnauthorizedError, ForbiddenError, InvalidConfigError, InvalidTtlError, and what a put raises; after
        UnknownOutcomeError list the tokens and revoke the one of this name.
        """
        try:
            given = text("name", name), scope_sum(scopes), tuple(prefix_bytes(prefix) for prefix in several(prefixes))
        except ConcordError:
            self._db._authorize(None, _native.SCOPE_ADMIN, None)
            raise
        token, info = interruptible(
            lambda: self._db._token_create(*given, ttl), lambda made: self._db._token_revoke(made[0])
        )
        return CreatedToken(token, info_of(json.loads(info)))

    def list(self) -> list[TokenInfo]:
        """Every token, by when it was made. Raises UnauthorizedError, ForbiddenError."""
        return [info_of(info) for info in json.loads(interruptible(self._db._tokens_json))]

    def revoke(self, id_or_token: str) -> None:
        """End a token, named by its id or its text.

        When this returns nothing is written or freshly read in its name any more, through whichever handle and on
        whichever member. Raises NotFoundError when there is no such token, UnauthorizedError, ForbiddenError.
        """
        interruptible(lambda: self._db._token_revoke(id_or_token))


class AioTokens:
    """The verbs of :class:`Tokens` as coroutines; get it as ``db.tokens``. They never block the loop."""

    __slots__ = ("_db", "_tokens")

    def __init__(self, db: AioDb) -> None:
        """Speak for this store."""
        self._db = db
        self._tokens = Tokens(db._db)

    def __repr__(self) -> str:
        return f"<concord_kv.aio.AioTokens of {self._db!r}>"

    async def create(
        self,
        name: str,
        scopes: Iterable[Scope] | Scope,
        *,
        prefixes: Iterable[str | bytes] = (),
        ttl: float | None = None,
    ) -> CreatedToken:
        """Make a token; see :meth:`Tokens.create`."""
        return await self._db._beside(lambda: self._tokens.create(name, scopes, prefixes=prefixes, ttl=ttl))

    async def list(self) -> list[TokenInfo]:
        """Every token, by when it was made."""
        return await self._db._beside(self._tokens.list)

    async def revoke(self, id_or_token: str) -> None:
        """End a token, named by its id or its text; see :meth:`Tokens.revoke`."""
        await self._db._beside(lambda: self._tokens.revoke(id_or_token))


def several(given: Any) -> Any:
    """Items of an option that takes several: a single text would be taken letter by letter."""
    if isinstance(given, (str, bytes)):
        raise TypeError("prefixes is a list of str or bytes, not a single one")
    return given


def scope_sum(scopes: Iterable[str] | str) -> int:
    """Scopes as the extension takes them."""
    total = 0
    for scope in [scopes] if isinstance(scopes, str) else scopes:
        if not isinstance(scope, str):
            raise TypeError(f"a scope is a str, not {type(scope).__name__}")
        if scope not in SCOPES:
            raise InvalidConfigError(f"a scope is one of {', '.join(map(repr, SCOPES))}, not {scope!r}")
        total |= SCOPES[scope]
    return total


def prefix_bytes(prefix: object) -> bytes:
    """A key prefix as the extension takes it."""
    if isinstance(prefix, bytes):
        return prefix
    if not isinstance(prefix, str):
        raise TypeError(f"a prefix is str or bytes, not {type(prefix).__name__}")
    try:
        return prefix.encode()
    except UnicodeEncodeError:
        raise InvalidConfigError("a prefix has lone surrogates, so it is not UTF-8") from None


def info_of(given: dict[str, Any]) -> TokenInfo:
    """What the library says of a token."""
    prefixes = given["key_prefixes"]
    return TokenInfo(
        id=given["id"],
        name=given["name"],
        scopes=frozenset(given["scopes"]),
        prefixes=tuple(prefix if isinstance(prefix, str) else b64decode(prefix["$bytes"]) for prefix in prefixes),
        created=moment(given["created_ms"]),
        expires=moment_or_none(given["expires_ms"]),
        last_used=moment_or_none(given["last_used_ms"]),
    )


def moment(ms: int) -> datetime:
    """A time in milliseconds since 1970."""
    return datetime.fromtimestamp(ms / 1000, timezone.utc)


def moment_or_none(ms: int | None) -> datetime | None:
    """The same where there may be none."""
    return None if ms is None else moment(ms)


__all__ = ["AioTokens", "CreatedToken", "Scope", "TokenInfo", "Tokens"]
