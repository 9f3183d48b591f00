"""Bench: what a Python program pays for a read and a write, beside what it would pay without a store.

Prints one JSON object a line: {"id", "name", "value", "unit", "baseline", "ratio"}. Every result is checked.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable

import concord_kv
from concord_kv import aio

KEYS = 100_000
READS = 200_000
ROUNDS = 7
PUTS = 1_000
IN_FLIGHT = 256
WRITES_EACH = 200
VALUE_BYTES = 100


def report(id_: str, name: str, value: float, unit: str, baseline: float, ratio: float) -> None:
    """Print one figure."""
    figure = {"id": id_, "name": name, "value": round(value, 1), "unit": unit, "baseline": round(baseline, 1)}
    print(json.dumps(figure | {"ratio": round(ratio, 3)}), flush=True)


def value_of(number: int) -> str:
    """A text of 100 bytes that tells its key."""
    return f"{number:08}" + "x" * (VALUE_BYTES - 8)


def read_ns(get: Callable[[str], str], order: list[str], wanted: list[str]) -> float:
    """Nanoseconds of one read, the loop around it included."""
    begin = time.perf_counter()
    for key in order:
        get(key)
    took = time.perf_counter() - begin
    assert [get(key) for key in order[:1000]] == wanted[:1000]
    return took / len(order) * 1e9


def reads() -> None:
    """P7py: get of 100 B, beside the lookup in a dict."""
    keys = [f"key:{number:08}" for number in range(KEYS)]
    table = {key: value_of(number) for number, key in enumerate(keys)}
    chance = random.Random(1)
    with concord_kv.open() as db:
        for start in range(0, KEYS, 500):
            db.put_many([(key, table[key]) for key in keys[start : start + 500]])
        for id_, name, among in (
            ("P7py", "Python get of 100 B, any of 1,000 keys", 1_000),
            ("P7py_100k", f"Python get of 100 B, any of {KEYS:,} keys (outside the caches)", KEYS),
        ):
            order = [keys[chance.randrange(among)] for _ in range(READS)]
            wanted = [table[key] for key in order]
            rounds = [(read_ns(db.get, order, wanted), read_ns(table.get, order, wanted)) for _ in range(ROUNDS)]
            ours, bare = (statistics.median(figures) for figures in zip(*rounds, strict=True))
            report(id_, name, ours, "ns", bare, ours / bare)


def append_s(directory: str) -> float:
    """Seconds of one bare append of 256 bytes with fdatasync: the median of many."""
    took = []
    descriptor = os.open(os.path.join(directory, "append"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.posix_fallocate(descriptor, 0, 1 << 20)
    for _ in range(PUTS // 2):
        begin = time.perf_counter()
        os.write(descriptor, b"x" * 256)
        os.fdatasync(descriptor)
        took.append(time.perf_counter() - begin)
    os.close(descriptor)
    return statistics.median(took)


def puts(directory: str) -> None:
    """P2py: durable put, one thread, beside one bare append with fdatasync."""
    with concord_kv.open(os.path.join(directory, "puts")) as db:
        took, bare = [], []
        for block in range(4):
            bare.append(append_s(directory))
            for number in range(PUTS // 4):
                begin = time.perf_counter()
                db.put(f"key:{number:08}", value_of(number))
                took.append(time.perf_counter() - begin)
            assert len(db) == PUTS // 4, block
        ours, base = statistics.median(took), statistics.median(bare)
        report("P2py", "Python put of 100 B, durable, 1 thread", 1 / ours, "calls/s", 1 / base, ours / base)


async def in_flight(db: aio.AioDb) -> float:
    """Durable puts a second with many tasks at once."""

    async def work(lane: int) -> None:
        for step in range(WRITES_EACH):
            await db.put(f"{lane}:{step}", value_of(step))

    begin = time.perf_counter()
    await asyncio.gather(*(work(lane) for lane in range(IN_FLIGHT)))
    return IN_FLIGHT * WRITES_EACH / (time.perf_counter() - begin)


async def empty_turns() -> float:
    """The same tasks when there is no store: what asyncio itself can do."""
    loop = asyncio.get_running_loop()

    async def nothing() -> None:
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future

    async def work() -> None:
        for _ in range(WRITES_EACH):
            await nothing()

    begin = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    return IN_FLIGHT * WRITES_EACH / (time.perf_counter() - begin)


async def asynchronous(directory: str) -> None:
    """P3py: asyncio puts, durable and in memory, beside asyncio doing nothing."""
    for id_, name, path in (
        ("P3py", f"Python asyncio put of 100 B, durable, {IN_FLIGHT} tasks", os.path.join(directory, "aio")),
        ("P4py", f"Python asyncio put of 100 B, in memory, {IN_FLIGHT} tasks", None),
    ):
        async with aio.open(path) as db:
            rounds = [(await in_flight(db), await empty_turns()) for _ in range(3)]
            ours, bare = (statistics.median(figures) for figures in zip(*rounds, strict=True))
            assert await db.get(f"{IN_FLIGHT - 1}:{WRITES_EACH - 1}") == value_of(WRITES_EACH - 1)
            assert len([key async for key in db.keys()]) == IN_FLIGHT * WRITES_EACH  # noqa: SIM118
            report(id_, name, ours, "calls/s", bare, bare / ours)


def main() -> None:
    """Run everything."""
    reads()
    with tempfile.TemporaryDirectory(dir=os.environ.get("CONCORD_BENCH_DIR")) as directory:
        puts(directory)
        asyncio.run(asynchronous(directory))


if __name__ == "__main__":
    main()
