"""Selection: which records are meant, from what people write to what the extension takes."""

from __future__ import annotations

import re
from typing import Any, TypedDict

from concord_kv import _native
from concord_kv.errors import InvalidConditionError

Key = str | bytes

NO_LIMIT = 2**64 - 1

FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}
"""How a pattern is read, and the letter that says it in every language."""


class Selection(TypedDict, total=False):
    """What picks records beside a prefix; everything that is said must hold.

    ``suffix``, ``contains``: keys that end with this, or hold it somewhere.
    ``range``: keys from the first to the second, both included, in the order of their bytes.
    ``pattern``: keys in which this regular expression matches somewhere. As a str it is about the bytes of the key; a
    compiled one brings its flags, and is about characters when it was compiled from a str. It takes linear time, so it
    has no look-around and no back-references, and ``$`` is the very end.
    ``where``: records of which this expression is true, ``'value.price > 100 and value.role == "admin"'``; it runs in
    the store and means the same in every language.
    ``offset``, ``limit``: how many of those, in key order, are left out first, and how many are picked at most.

    What cannot be understood raises InvalidConditionError, whose ``column`` tells where the fault is.
    """

    suffix: Key | None
    contains: Key | None
    pattern: str | re.Pattern[str] | re.Pattern[bytes] | None
    range: tuple[Key, Key] | None
    where: str | None
    offset: int
    limit: int | None


def native_selector(
    prefix: Key | None = None,
    *,
    suffix: Key | None = None,
    contains: Key | None = None,
    pattern: str | re.Pattern[str] | re.Pattern[bytes] | None = None,
    range: tuple[Key, Key] | None = None,
    where: str | None = None,
    offset: int = 0,
    limit: int | None = None,
) -> tuple[Any, ...]:
    """Make a selector as the extension takes it."""
    text, flags = (None, "") if pattern is None else native_pattern(pattern)
    first, last = (None, None) if range is None else ends(range)
    return (
        part("prefix", prefix),
        part("suffix", suffix),
        part("contains", contains),
        text,
        flags.encode(),
        first,
        last,
        None if where is None else expression(where),
        number("offset", offset),
        NO_LIMIT if limit is None else number("limit", limit),
    )


def looks_far(selection: Selection) -> bool:
    """Whether a step of a walk may look at many records before it finds one."""
    near = ("range", "limit")
    return any(value is not None and value != 0 for name, value in selection.items() if name not in near)


def part(name: str, given: Key | None) -> bytes | None:
    """Bytes of a part of a key, or of what may stand there."""
    if given is None or isinstance(given, bytes):
        return given
    if not isinstance(given, str):
        raise TypeError(f"{name} is str or bytes, not {type(given).__name__}")
    return encoded(name, given)


def encoded(name: str, given: str) -> bytes:
    """Text as UTF-8."""
    try:
        return given.encode()
    except UnicodeEncodeError:
        raise InvalidConditionError(f"{name} has lone surrogates, so it is not UTF-8") from None


def expression(given: str) -> bytes:
    """Make an expression as the extension takes it."""
    if not isinstance(given, str):
        raise TypeError(f"an expression is a str, not {type(given).__name__}")
    return encoded("the expression", given)


def ends(given: tuple[Key, Key]) -> tuple[bytes | None, bytes | None]:
    """Both ends of a range."""
    if not isinstance(given, (tuple, list)) or len(given) != 2 or None in given:
        raise TypeError("a range is a tuple of two keys, (from, to)")
    return part("the range's first key", given[0]), part("the range's last key", given[1])


def native_pattern(given: str | re.Pattern[str] | re.Pattern[bytes]) -> tuple[bytes, str]:
    """Text and flags of a pattern. A flag that means nothing elsewhere is refused, never left out."""
    if isinstance(given, str):
        return encoded("the pattern", given), ""
    if not isinstance(given, re.Pattern):
        raise TypeError(f"a pattern is a str or a compiled re.Pattern, not {type(given).__name__}")
    letters = "".join(letter for letter, flag in FLAGS.items() if given.flags & flag)
    if isinstance(given.pattern, bytes):
        if given.flags & re.LOCALE:
            raise InvalidConditionError("re.LOCALE means something else on another machine; leave it out")
        return given.pattern, letters
    if given.flags & re.ASCII:
        raise InvalidConditionError('a pattern with re.ASCII is written as bytes: re.compile(rb"...")')
    return encoded("the pattern", given.pattern), letters + "u"


def number(name: str, given: int) -> int:
    """Make an offset or a limit as the extension takes it."""
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"{name} is an int, not {type(given).__name__}")
    if not 0 <= given < NO_LIMIT:
        raise InvalidConditionError(f"{name} is 0 or more, not {given}")
    return given


def check_expression(where: str) -> None:
    """Raise InvalidConditionError when this is no expression, as ``where`` and ``condition`` take it.

    For programs that want to tell early; every verb checks it by itself.

    >>> check_expression('value.price > 100 and value.role == "admin"')
    >>> try:
    ...     check_expression("value.price >")
    ... except InvalidConditionError as error:
    ...     error.column
    14
    """
    _native.expression_check(expression(where))


def expression_holds(where: str, key: Key, value: Any, *, revision: int = 1, ttl: float | None = None) -> bool:
    """Whether an expression is true of a record, as every member of a cluster judges it.

    For programs that try one out, or filter what they have read already.

    >>> expression_holds("value.price > 100 and ttl == null", "product:2", {"price": 150})
    True
    """
    name = part("a key", key)
    return _native.expression_holds(expression(where), name, _native.encode(value), number("revision", revision), ttl)
