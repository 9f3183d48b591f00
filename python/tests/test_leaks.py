"""Leaks: memory and descriptors stay where they are, however often everything is done, errors included."""

from __future__ import annotations

import asyncio
import gc
import os
from datetime import datetime, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import concord_kv
from concord_kv import Atom, ConcordError, Struct, aio
from concord_kv._native import decode, encode

VALUE = {
    "text": ["a", "b" * 1000, "é"],
    "numbers": [1, 2**70, -(2**70), 1.5],
    Atom("atom" * 20): (1, {2, "x"}, frozenset([3])),
    "times": [datetime(2025, 1, 1, tzinfo=timezone.utc), datetime(2025, 7, 1, tzinfo=ZoneInfo("Europe/Berlin"))],
    "others": [Decimal("1.5"), Struct("S", {"a": 1}), b"bytes"],
}


def resident_kb():
    """Resident memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def descriptors():
    """Open descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


def assert_flat(step, rounds, allowed_kb):
    """Run a step often; memory after a warm-up stays within bounds."""
    for _ in range(rounds // 4):
        step()
    gc.collect()
    before, open_before = resident_kb(), descriptors()
    for _ in range(rounds):
        step()
    gc.collect()
    assert resident_kb() - before < allowed_kb
    assert descriptors() <= open_before


def failing(call):
    """Call what must fail."""
    try:
        call()
    except (ConcordError, TypeError):
        return
    raise AssertionError("it did not fail")


def test_encoding_and_decoding():
    data = encode(VALUE)
    assert_flat(lambda: decode(encode(VALUE)), 4000, 2000)

    def errors():
        failing(lambda: decode(data[:-1]))
        failing(lambda: decode(data + b"\0"))
        failing(lambda: encode([VALUE, object()]))
        failing(lambda: encode({"a": {1, (2, object)}}))

    assert_flat(errors, 4000, 2000)


def test_every_verb():
    db = concord_kv.open()

    def verbs():
        db.put("a", VALUE)
        db.get("a")
        db.get_record("a")
        db.get_many(["a", "b"])
        db.put_many({"b": VALUE, "c": 1})
        db.touch_many({"b": 60, "nobody": 60})
        db.increment("n")
        list(db.records())
        db.get_all()
        db.delete("c")
        db.status()
        failing(lambda: db["nobody"])
        failing(lambda: db.put("a", object()))
        failing(lambda: db.put("", 1))
        failing(lambda: db.put(1, 1))
        failing(lambda: db.put_many([("x", 1), ("y",)]))
        failing(lambda: db.put_if("a", 1, expected=[object()]))
        failing(lambda: db.put_if("a", 1, expected=VALUE, revision=1))
        failing(lambda: db.put_new("a", 1))
        failing(lambda: db.get("a", consistency="x"))
        failing(lambda: db.put("a", 1, nonsense=1))

    # The store itself keeps a log in memory, up to its own bounds: allow for that.
    assert_flat(verbs, 1500, 20_000)
    db.close()


def test_opening_and_closing():
    def open_and_close():
        with concord_kv.open() as db:
            db.put("a", 1)
            next(db.keys())

    assert_flat(open_and_close, 100, 8000)


def test_asyncio():
    async def main():
        async with aio.open() as db:

            async def turn():
                tasks = [asyncio.create_task(db.put("a", VALUE)) for _ in range(20)]
                await asyncio.sleep(0)
                tasks[0].cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await asyncio.gather(db.put_new("a", 1), db.touch("nobody", 5), return_exceptions=True)

            for _ in range(100):
                await turn()
            gc.collect()
            before = resident_kb()
            for _ in range(400):
                await turn()
            gc.collect()
            assert resident_kb() - before < 20_000

    asyncio.run(main())


def test_references_of_values_are_balanced():
    import sys

    key, value, default = "key" * 10, ["value"], object()
    with concord_kv.open() as db:
        db.put(key, value)
        before = [sys.getrefcount(thing) for thing in (key, value, default, None)]
        for _ in range(1000):
            db.put(key, value)
            db.get(key)
            db.get("nobody", default)
            db.put_many([(key, value)])
            db.get_many([key, "nobody"])
            _ = key in db
        after = [sys.getrefcount(thing) for thing in (key, value, default, None)]
    assert all(abs(now - then) < 50 for now, then in zip(after, before, strict=True))


def test_a_finalizer_may_use_the_store_in_the_middle_of_a_read():
    class Noisy:
        def __init__(self):
            self.circle = self

        def __del__(self):
            db.put("from a finalizer", db.get("big")[:2])

    with concord_kv.open() as db:
        db.put("big", [[number, {"x": (number,)}] for number in range(2000)])
        for _ in range(50):
            Noisy()  # collected whenever Python likes, such as while the lists of the next value are made
            assert len(db.get("big")) == 2000
            assert len(list(db.items())) in (1, 2)
        gc.collect()
        assert db["from a finalizer"] == [[0, {"x": (0,)}], [1, {"x": (1,)}]]


def test_queries():
    with concord_kv.open() as db:
        db.put_many((f"n:{number}", {"n": number, "text": "x" * 100}) for number in range(500))

        def queries():
            assert len(list(db.items("n:1", where="value.n >= 0", limit=20))) == 20
            with db.records(pattern="^n:") as left:
                next(left)
            assert db.count("n:", where="value.n < 5") == 5
            db.delete_where("nobody", where="value.n == 1")
            failing(lambda: db.count(where="value >"))
            failing(lambda: db.keys(pattern="("))
            failing(lambda: db.delete_where(offset=1))
            failing(lambda: db.put_if("n:1", 1, condition="value ==="))
            failing(lambda: db.count(range=("a",)))

        assert_flat(queries, 1000, 8_000)

    async def same():
        async with aio.open() as db:
            await db.put_many((f"n:{number}", number) for number in range(500))
            for _ in range(200):
                assert len([key async for key in db.keys(where="value < 10")]) == 10
                assert await db.count() == 500
                assert await db.delete_where("nobody") == 0

    asyncio.run(same())


def test_tokens_and_what_is_served():
    with concord_kv.open(auth_enabled=True) as db:
        admin = db.as_admin()
        lasting = admin.tokens.create("lasting", ["read", "write"], prefixes=["app:"]).token

        def tokens():
            created = admin.tokens.create("brief", "read", prefixes=["a", b"\xff"], ttl=60)
            with db.with_token(lasting) as app, db.with_token(created.token) as reader:
                app.put("app:a", VALUE)
                failing(lambda: app.put("other", 1))
                failing(lambda: reader.put("a", 1))
                failing(lambda: next(app.keys()))
            db.put("app:a", 1, token=lasting)
            db.get("app:a", token=lasting)
            db.get_many(["app:a"], token=lasting)
            list(db.items("app:", token=lasting))
            failing(lambda: db.put("", 1, token=lasting))
            failing(lambda: db.put("", 1))
            failing(lambda: db.get("app:a", token="sk_concord_"))
            failing(lambda: db.with_token("a\0b"))
            admin.tokens.list()
            admin.tokens.revoke(created.token)
            db.metrics_text()

        assert_flat(tokens, 800, 20_000)

    def serve():
        with concord_kv.open(api_port=0, prometheus_port=0) as served:
            assert served.api_address

    assert_flat(serve, 40, 16_000)
