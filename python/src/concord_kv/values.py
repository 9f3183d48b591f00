"""Values that Python has no class for: names, structs of other languages, and what a record is."""

from __future__ import annotations

from typing import Any, Final, NamedTuple


class Atom(str):
    """A name, as Elixir's atoms are. Equal to the same text and usable as it, but stored as a name.

    >>> Atom("ok") == "ok"
    True
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Atom({str.__repr__(self)})"


class Struct:
    """A value of a type that Python does not have, such as an Elixir struct: the type's name and its fields.

    >>> Struct("Elixir.MyApp.User", {Atom("name"): "Ann"})["name"]
    'Ann'
    """

    __slots__ = ("fields", "name")

    def __init__(self, name: str, fields: dict[Any, Any]) -> None:
        self.name = name
        self.fields = fields

    def __getitem__(self, field: Any) -> Any:
        return self.fields[field]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Struct):
            return NotImplemented
        return self.name == other.name and self.fields == other.fields

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Struct({self.name!r}, {self.fields!r})"


class Record(NamedTuple):
    """What is stored under a key."""

    value: Any
    """The value."""
    revision: int
    """Number of the change that last wrote the key; grows with every change of the store."""
    ttl: float | None
    """Remaining lifetime in seconds; None lives for ever."""


class Absent:
    """The class of :data:`ABSENT`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()
"""As ``expected=`` of ``put_if``: the key must not exist."""
