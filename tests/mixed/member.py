"""Member: the member of the mixed cluster that is a Python process. It obeys lines of its standard input, see drive.py.

Usage: member.py DATA-DIR LISTEN SEEDS COOKIE
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import date, datetime, time, timezone

import concord_kv
from concord_kv import Atom, ConcordError
from concord_kv._native import encode

WAIT_S = 20

# The same values, by the same names, are in member.c and member.exs.
ZOO = {
    "text": "Ομόνοια 🎉",
    "empty": "",
    "large": "Concord " * 500,
    "bytes": b"\xff\x00\xfe",
    "null": None,
    "true": True,
    "int": -25,
    "int64": 2**63 - 1,
    "big": 2**100,
    "float": 0.1,
    "whole": 1.0,
    "vast": 1e300,
    "list": [1, [2.5, "three"], None],
    "map": {"id": 7, "name": "Ann", "tags": ["x", "y"]},
    "atom": Atom("running"),
    "tuple": (Atom("ok"), 1),
    "date": date(2024, 2, 29),
    "time": time(23, 59, 59, 5),
    "instant": datetime(2025, 10, 21, 12, 47, 27, 231034, tzinfo=timezone.utc),
    "naive": datetime(2025, 10, 21, 12, 47, 27, 231034),
}


def check(db: concord_kv.Db, prefix: str) -> int:
    """Compare what is stored below a prefix, types included."""
    found = db.get_many([prefix + name for name in ZOO], consistency="strong", timeout=WAIT_S)
    for name, wanted in ZOO.items():
        value = found.get(prefix + name, "nothing")
        # repr() tells 1 from 1.0 and an Atom from text, at any depth.
        if value != wanted or repr(value) != repr(wanted):
            raise ValueError(f"{prefix}{name} is {value!r}")
    return len(ZOO)


def dump(db: concord_kv.Db) -> Iterator[str]:
    """Everything that this node itself holds, after a read that has brought it up to date."""
    db.get("count", consistency="strong", timeout=WAIT_S)
    for key, value in db.items(consistency="eventual"):
        yield f"{key}\t{encode(value).hex()}"


def obey(db: concord_kv.Db, verb: str, argument: str) -> int:
    """Do what one line says; the number of its answer."""
    if verb == "ready":
        db.cluster.wait_ready(WAIT_S)
        return db.status()["node"]
    if verb == "leader":
        return db.status()["cluster"]["leader"] or 0
    if verb == "lead":
        db.cluster.transfer_leadership(int(argument), timeout=WAIT_S)
        return 0
    if verb == "write":
        db.put_many({argument + name: value for name, value in ZOO.items()})
        return len(ZOO)
    if verb == "check":
        return check(db, argument)
    if verb == "count":
        return db.increment("count")
    if verb == "dump":
        lines = list(dump(db))
        print("\n".join(lines))
        return len(lines)
    raise ValueError(f"unknown verb {verb}")


def main() -> None:
    """Open the member and obey until the input ends."""
    directory, listen, seeds, cookie = sys.argv[1:]
    with concord_kv.open(
        directory, listen=listen, seeds=seeds.split(","), cookie=cookie, name="python", bootstrap_expect=3
    ) as db:
        print("ok", os.getpid(), flush=True)
        for line in sys.stdin:
            verb, _, argument = line.strip().partition(" ")
            try:
                print("ok", obey(db, verb, argument), flush=True)
            except ConcordError as error:
                print("error", error.kind, error, flush=True)
            except ValueError as error:
                print("error wrong", error, flush=True)


main()
