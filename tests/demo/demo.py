"""The Python part of the demo: `read`, `load` and `check` on a data directory."""

import csv
import datetime
import json
import os
import sys
import threading

import concord_kv


def expected_countries(path):
    """The countries as the CSV file has them, with dates as dates."""

    def day(text):
        return datetime.date.fromisoformat(text) if text else None

    with open(path, encoding="utf-8", newline="") as file:
        return {
            "country:" + row["code"]: {
                "name": row["name"],
                "capital": row["capital"],
                "joined": day(row["joined"]),
                "euro": day(row["euro"]),
            }
            for row in csv.DictReader(file)
        }


KINDS = {
    "kind:atom": concord_kv.Atom("running"),
    "kind:tuple": (concord_kv.Atom("rate"), 100, concord_kv.Atom("per_second")),
    "kind:datetime": datetime.datetime(2025, 10, 21, 12, 47, 27, 231034, tzinfo=datetime.timezone.utc),
    "kind:big": 2**100,
    "kind:bytes": b"\xff\x00\xfe",
    "kind:float": 0.1,
    "kind:null": None,
    "kind:set": {1, 2, 3},
    "kind:large": "Concord " * 5_000,
    "lock": "elixir",
}


def read(directory, path):
    """Reads what Elixir wrote, checks every value and type, and adds something of its own."""
    with concord_kv.open(directory) as db:
        expected = {**expected_countries(path), **KINDS}
        found = db.get_many(list(expected))
        for key, value in expected.items():
            got = db[key]
            if got != value or type(got) is not type(value):
                sys.exit(f"{key}: {got!r} instead of {value!r}")
            if key not in found:
                sys.exit(f"{key}: missing from get_many")
        if not 3590 < db.ttl("session:ada") <= 3600:
            sys.exit(f"session:ada: {db.ttl('session:ada')} s left instead of nearly 3600")
        if db.increment("visits") != 2:
            sys.exit("visits: Elixir counted once, so this should be the second time")
        db.put("python:was here", {"at": datetime.date(2025, 10, 21), "pi": 3.14159})
        print(len(expected) + 2)


def load(directory, pid_file, acks_file):
    """Writes from eight threads until killed, and notes each acknowledged write."""
    db = concord_kv.open(directory)
    acks = os.open(acks_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with open(pid_file, "w", encoding="ascii") as file:
        file.write(str(os.getpid()))

    def write(lane):
        n = 0
        while True:
            n += 1
            key = f"load:python:{lane}:{n}"
            db.put(key, n)
            os.write(acks, f"{key} {n}\n".encode())

    threads = [threading.Thread(target=write, args=(lane,)) for lane in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def check(directory, acks_file):
    """Counts the acknowledged writes that are there; fails when one is missing."""
    with open(acks_file, encoding="ascii") as file:
        lines = [line.split() for line in file]
    with concord_kv.open(directory) as db:
        for key, n in lines:
            if db.get(key) != int(n):
                sys.exit(f"{key} was acknowledged with {n}, but reads {db.get(key)!r}")
    print(len(lines))


def compare(path, listing):
    """Holds lines of `key<TAB>JSON`, as C and the program print them, against the CSV file."""
    expected = expected_countries(path)
    with open(listing, encoding="utf-8") as file:
        found = dict(line.rstrip("\n").split("\t", 1) for line in file)
    for key, value in expected.items():
        wanted = {name: str(field) if isinstance(field, datetime.date) else field for name, field in value.items()}
        if json.loads(found.get(key, "null")) != wanted:
            sys.exit(f"{key}: {found.get(key)} instead of {json.dumps(wanted, ensure_ascii=False)}")
    print(len(expected))


if __name__ == "__main__":
    {"read": read, "load": load, "check": check, "compare": compare}[sys.argv[1]](*sys.argv[2:])
