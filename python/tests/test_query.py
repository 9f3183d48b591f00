"""Queries: what selectors pick, expressions, and conditions that are expressions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
import time

import pytest
from conftest import ROOT

import concord_kv
from concord_kv import (
    ClosedError,
    ClusterNotReadyError,
    ConditionFailedError,
    ForbiddenError,
    InvalidConditionError,
    NotFoundError,
    UnauthorizedError,
    _native,
    aio,
    check_expression,
    expression_holds,
)

SHOP = {
    "user:1": {"role": "admin", "age": 31},
    "user:2": {"role": "user", "age": 40},
    "user:100": {"role": "admin", "age": 29},
    "product:1": {"price": 50},
    "product:2": {"price": 150},
    "product:3": {"price": 199},
}
USERS = ["user:1", "user:100", "user:2"]


@pytest.fixture
def shop(db):
    """The users and products of the documentation."""
    db.put_many(SHOP)
    return db


def the_examples_hold(db):
    assert list(db.keys("user:")) == USERS
    assert list(db.keys(suffix=":1")) == ["product:1", "user:1"]
    assert list(db.keys(contains="er:1")) == ["user:1", "user:100"]
    assert list(db.keys(pattern=r"user:\d{3}")) == ["user:100"]
    assert list(db.keys(range=("product:2", "user:1"))) == ["product:2", "product:3", "user:1"]
    assert list(db.keys("user:", limit=2)) == USERS[:2]
    assert list(db.keys("user:", offset=1, limit=5)) == USERS[1:]
    assert list(db.keys(b"user:", limit=0)) == []
    dear = {"prefix": "product:", "where": "value.price > 100"}
    assert list(db.items(**dear)) == [("product:2", {"price": 150}), ("product:3", {"price": 199})]
    assert list(db.values(**dear)) == [{"price": 150}, {"price": 199}]
    ((key, record),) = db.records("user:", where='value.age >= 30 and value.role == "admin"')
    assert (key, record.value, record.ttl) == ("user:1", SHOP["user:1"], None)
    assert record.revision > 0
    assert (db.count(), db.count("user:"), db.count(offset=1, limit=3), len(db)) == (6, 3, 3, 6)
    assert db.delete_where("user:", where="value.age < 30") == 1
    assert db.delete_where(range=("product:1", "product:2"), timeout=5) == 2
    assert list(db) == ["product:3", "user:1", "user:2"]
    with pytest.raises(InvalidConditionError):
        db.delete_where()
    assert db.delete_where("") == 3
    assert (db.count(), db.delete_where("")) == (0, 0)


def test_the_examples_of_the_documentation_hold(shop):
    the_examples_hold(shop)


def test_a_client_asks_as_a_member_does(tmp_path):
    with concord_kv.open(tmp_path) as db, concord_kv.connect(data_dir=tmp_path) as client:
        db.put_many(SHOP)
        the_examples_hold(client)
        client.put_many((f"n:{number:04}", number) for number in range(500))
        assert list(client.values("n:", where="value >= 498")) == [498, 499]


def test_a_long_answer_comes_in_pages_of_one_point_in_time(db):
    for start in range(0, 5000, 500):
        db.put_many((f"n:{number:05}", number) for number in range(start, start + 500))
    walk = db.items(where="value >= 0")
    assert next(walk) == ("n:00000", 0)
    db.delete_where("n:")
    assert [value for _, value in walk] == list(range(1, 5000))
    assert list(walk) == []


def test_start_and_end_narrow_whatever_else_is_said(db):
    db.put_many(dict.fromkeys(["a", "ab", "b", "b\0", "c"], 1))
    assert list(db.keys(start="ab", end="b\0", where="true")) == ["ab", "b"]
    assert list(db.keys(start="ab", end="b", where="true")) == ["ab"]
    assert list(db.keys("a", start="aa", where="true")) == ["ab"]
    assert list(db.keys(range=("a", "b"), start="b", limit=5)) == ["b"]
    assert list(db.keys(start="c", end="a", where="true")) == []


def test_a_compiled_pattern_brings_its_flags(db):
    db.put_many({"user:1": 1, "User:22": 1, "Zoë": 1, "line\nend": 1, b"\xff": 1})
    for pattern, keys in [
        (re.compile(rb"^user", re.IGNORECASE), ["User:22", "user:1"]),
        (re.compile("^USER", re.IGNORECASE), ["User:22", "user:1"]),
        (re.compile("^Zo.$"), ["Zoë"]),
        (re.compile(b"^Zo.$"), []),
        ("^Zo.$", []),
        (re.compile(b"^end", re.MULTILINE), ["line\nend"]),
        (re.compile(b"line.end", re.DOTALL), ["line\nend"]),
        (re.compile(b"U s e r # a comment", re.VERBOSE), ["User:22"]),
        (re.compile(rb"\xff"), [b"\xff"]),
        (r"(a+)+$", []),
    ]:
        assert list(db.keys(pattern=pattern)) == keys, pattern
    for wrong in (
        re.compile("a", re.ASCII),
        re.compile(b"a", re.LOCALE),
        re.compile("a(?=b)"),
        re.compile("(?P<a>a)(?P=a)"),
    ):
        with pytest.raises(InvalidConditionError):
            db.count(pattern=wrong)


def test_a_walk_is_let_go_by_its_context_or_by_close(shop):
    with shop.keys(where="true") as keys:
        assert next(keys) == "product:1"
    assert list(keys) == []
    walk = shop.items()
    walk.close()
    walk.close()
    assert list(walk) == []


def test_closing_a_walk_while_another_thread_steps_is_no_trouble(db):
    for start in range(0, 20_000, 500):
        db.put_many((f"n:{number:06}", number) for number in range(start, start + 500))
    for _ in range(20):
        walk = db.keys(where="value >= 19999")
        found = []
        stepping = threading.Thread(target=lambda walk=walk, found=found: found.extend(walk))
        stepping.start()
        walk.close()
        stepping.join()
        assert found in ([], ["n:019999"])
        assert list(walk) == []


def test_a_condition_may_be_an_expression(db):
    older = {"condition": "value.version < 2"}
    with pytest.raises(NotFoundError):
        db.put_if("config", {"version": 2}, **older)
    db["config"] = {"version": 1}
    db.put_if("config", {"version": 2}, **older)
    with pytest.raises(ConditionFailedError):
        db.put_if("config", {"version": 3}, **older)
    with pytest.raises(ConditionFailedError):
        db.delete_if("config", **older)
    with pytest.raises(InvalidConditionError) as raised:
        db.delete_if("config", condition="value.version <")
    assert raised.value.column == 16
    with pytest.raises(InvalidConditionError):
        db.delete_if("config", condition="\ud800")
    db.delete_if("config", condition="revision > 0")
    assert "config" not in db


DEEP = "(" * 10_000 + "1" + ")" * 10_000
LONG = "a" * (1 << 20)


@pytest.mark.parametrize(
    ("selection", "column"),
    [
        ({"range": ("b", "a")}, None),
        ({"pattern": "a(?!b)"}, 2),
        ({"pattern": r"(a)\1"}, 4),
        ({"pattern": r"\w{1000}{1000}"}, ...),
        ({"pattern": LONG}, None),
        ({"pattern": "\ud800"}, None),
        ({"where": LONG}, None),
        ({"where": DEEP}, None),
        ({"where": DEEP[:4000]}, ...),
        ({"where": "value.price >"}, 14),
        ({"where": "zéro > 1"}, 1),
        ({"where": '"éé" > >'}, 8),
        ({"where": ""}, 1),
        ({"where": "\ud800"}, None),
        ({"suffix": "a" * 1025}, None),
        ({"contains": b"a" * 1025}, None),
        ({"prefix": "a" * 1025, "where": "true"}, None),
        ({"prefix": "\ud800", "where": "true"}, None),
        ({"offset": -1}, None),
        ({"limit": -1}, None),
        ({"limit": 2**64}, None),
    ],
)
def test_what_is_no_selector_is_refused_at_once(shop, selection, column):
    begun = time.monotonic()
    verbs = [
        lambda **given: next(shop.keys(**given)),
        lambda **given: next(shop.records(**given)),
        shop.count,
        shop.delete_where,
    ]
    for verb in verbs:
        with pytest.raises(InvalidConditionError) as raised:
            verb(**selection)
        assert column is ... or raised.value.column == column
    assert time.monotonic() - begun < 2
    assert len(shop) == 6


@pytest.mark.parametrize(
    "selection",
    [
        {"suffix": 1},
        {"contains": ["a"]},
        {"pattern": 5},
        {"range": "ab"},
        {"range": ("a",)},
        {"range": ("a", None)},
        {"range": ("a", 1)},
        {"where": b"true"},
        {"where": lambda value: True},
        {"offset": 1.0},
        {"offset": None},
        {"limit": True},
        {"nothing": 1},
    ],
)
def test_wrong_types_are_type_errors(shop, selection):
    for verb in (shop.keys, shop.items, shop.count, shop.delete_where):
        with pytest.raises(TypeError):
            verb(**selection)
    assert len(shop) == 6


def test_a_token_is_judged_first_and_holds(tmp_path):
    with concord_kv.open(auth_enabled=True) as db:
        admin = db.as_admin()
        admin.put_many({"app:1": 1, "other": 2})
        token = admin.tokens.create("app", ["read"], prefixes=["app:"]).token
        for wrong in ({"where": "value >"}, {"offset": -1}):
            for verb in (lambda **given: next(db.keys(**given)), db.count, db.delete_where):
                with pytest.raises(UnauthorizedError):
                    verb(**wrong)
        assert list(db.keys("app:", where="value == 1", token=token)) == ["app:1"]
        assert db.count("app:", token=token) == 1
        for call in (
            lambda: db.count(token=token),
            lambda: next(db.keys(suffix="1", token=token)),
            lambda: db.delete_where("app:", token=token),
        ):
            with pytest.raises(ForbiddenError):
                call()


def test_queries_on_a_closed_store_say_so(shop):
    walk = shop.keys(where="true")
    shop.close()
    for call in (
        lambda: next(walk),
        shop.count,
        lambda: shop.delete_where("a"),
        lambda: shop.keys(where="true"),
        lambda: len(shop),
    ):
        with pytest.raises(ClosedError):
            call()


def test_asyncio_has_the_same_verbs():
    async def story(db):
        await db.put_many(SHOP)
        assert [key async for key in db.keys("user:")] == USERS
        assert [key async for key in db.keys(pattern=r"user:\d{3}")] == ["user:100"]
        dear = {"prefix": "product:", "where": "value.price > 100"}
        assert [item async for item in db.items(**dear)] == [
            ("product:2", {"price": 150}),
            ("product:3", {"price": 199}),
        ]
        assert [record.value async for _, record in db.records(**dear)] == [{"price": 150}, {"price": 199}]
        assert await asyncio.gather(db.count(), db.count("user:"), db.count(**dear)) == [6, 3, 2]
        async with contextlib.aclosing(db.keys(where="true")) as keys:
            assert await anext(keys) == "product:1"
        assert await db.delete_where("user:", where="value.age < 30") == 1
        for wrong in (db.count(where="value >"), db.delete_where(where="value >"), anext(db.keys(where="value >"))):
            with pytest.raises(InvalidConditionError) as raised:
                await wrong
            assert raised.value.column == 8
        with pytest.raises(InvalidConditionError):
            await db.delete_where()
        with pytest.raises(TypeError):
            await db.count(offset=1.5)
        with pytest.raises(ConditionFailedError):
            await db.put_if("product:1", 1, condition="value.price > 100")
        await db.put_if("product:1", 1, condition="value.price < 100")
        await db.delete_if("product:1", condition="value == 1")
        assert await db.count("product:") == 2

    async def main():
        async with aio.open() as db:
            await asyncio.wait_for(story(db), 60)

    asyncio.run(main())


def test_asyncio_clients_have_the_same_verbs(tmp_path):
    async def main():
        async with aio.open(tmp_path) as db, aio.connect(data_dir=tmp_path) as client:
            await db.put_many((f"n:{number:04}", number) for number in range(500))
            assert [key async for key in client.keys(where="value >= 498")] == ["n:0498", "n:0499"]
            assert [key async for key in client.keys(limit=3)] == ["n:0000", "n:0001", "n:0002"]
            assert await client.count("n:01") == 100
            assert await client.delete_where("n:01") == 100
            walk = client.keys()
            assert await anext(walk) == "n:0000"
            await client.close()
            with pytest.raises((ClosedError, ClusterNotReadyError)):
                [key async for key in client.keys(where="true")]

    asyncio.run(main())


def test_the_loop_goes_on_while_a_walk_looks_for_the_next_record():
    async def main():
        async with aio.open() as db:
            for start in range(0, 50_000, 500):
                await db.put_many((f"n:{number:06}", number) for number in range(start, start + 500))
            turns = 0

            async def ticker():
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            task = asyncio.create_task(ticker())
            assert [key async for key in db.keys(where='matches(key, "9{6}")')] == []
            task.cancel()
            assert turns >= 100

    asyncio.run(main())


GOLDEN = json.loads((ROOT / "tests" / "golden" / "expressions.json").read_text(encoding="utf-8"))


def encoded(case):
    """The value of a case as CBOR; JSON and Python say the same values here."""
    return bytes.fromhex(case["cbor"]) if "cbor" in case else _native.encode(case.get("value"))


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["expression"][:40] or "empty")
def test_golden_expression(db, case):
    where = case["expression"]
    if "column" in case:
        for call in (
            lambda: check_expression(where),
            lambda: db.count(where=where),
            lambda: next(db.keys(where=where)),
        ):
            with pytest.raises(InvalidConditionError) as raised:
                call()
            assert raised.value.column == case["column"]
        return
    check_expression(where)
    key, revision, ttl = case.get("key", "k").encode(), case.get("revision", 1), case.get("ttl")
    assert _native.expression_holds(where.encode(), key, encoded(case), revision, ttl) is case["result"]


def test_there_are_golden_expressions():
    assert len(GOLDEN) > 150


def test_an_expression_is_tried_out_without_a_store():
    assert expression_holds("value.price > 100 and ttl == null", "a", {"price": 150})
    assert expression_holds('revision == 7 and ttl == 1.5 and key == "a"', b"a", None, revision=7, ttl=1.5)
    assert not expression_holds("value", "a", 1)
    with pytest.raises(InvalidConditionError):
        expression_holds("value >", "a", 1)
    for wrong in (5, b"true", None):
        with pytest.raises(TypeError):
            check_expression(wrong)
