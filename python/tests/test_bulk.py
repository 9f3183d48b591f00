"""Bulk verbs and iteration: up to 500 items in one step, and walks over the whole store."""

from __future__ import annotations

import gc

import pytest

from concord_kv import (
    BatchTooLargeError,
    ClosedError,
    InvalidKeyError,
    InvalidOperationFormatError,
    InvalidTouchOperationError,
    InvalidTtlError,
    InvalidValueError,
    Record,
    ValueTooLargeError,
)
from concord_kv.db import Db


def test_many_are_put_read_and_deleted_at_once(db):
    db.put_many({"a": 1, "b": "two"})
    db.put_many([("c", 3), ("d", 4, 60), ["e", 5, None]])
    assert db.get_many(["a", "b", "c", "d", "e", "f"]) == {"a": 1, "b": "two", "c": 3, "d": 4, "e": 5}
    assert db.ttl("d") is not None
    assert db.ttl("e") is None
    db.delete_many(key for key in ("a", "b", "nobody"))
    assert db.get_all() == {"c": 3, "d": 4, "e": 5}


def test_nothing_to_do_is_fine(db):
    db.put_many([])
    db.put_many({})
    db.put_many_with_ttl([], 60)
    db.delete_many([])
    assert db.get_many([]) == {}
    assert db.touch_many([]) == {}


def test_one_lifetime_for_all(db):
    db.put_many_with_ttl({"a": 1, "b": 2}, 60)
    db.put_many([("c", 3)], ttl=30)
    assert all(0 < ttl <= 60 for _, ttl in db.get_all_with_ttl().values())
    assert db.ttl("c") <= 30


def test_touch_many_says_who_was_there(db):
    db.put_many({"a": 1, "b": 2})
    assert db.touch_many({"a": 60, "nobody": 60}) == {"a": True, "nobody": False}
    assert db.touch_many([("b", 0.5)]) == {"b": True}
    assert db.ttl("b") <= 0.5


def test_keys_come_back_as_they_were_asked_for(db):
    db.put("a", 1)
    assert db.get_many([b"a", "a"]) == {b"a": 1, "a": 1}


def test_500_are_a_batch_and_501_are_not(db):
    db.put_many((f"k{number}", number) for number in range(500))
    assert len(db) == 500
    keys = [f"k{number}" for number in range(501)]
    for call in (
        lambda: db.put_many((key, 1) for key in keys),
        lambda: db.delete_many(keys),
        lambda: db.get_many(keys),
        lambda: db.touch_many((key, 1) for key in keys),
    ):
        with pytest.raises(BatchTooLargeError):
            call()
    assert len(db.get_many(keys[:500])) == 500


@pytest.mark.parametrize(
    ("items", "error"),
    [
        ([("a", 1), ("", 2)], InvalidKeyError),
        ([("a", 1), ("b" * 1025, 2)], InvalidKeyError),
        ([("a", 1), ("b", 2, 0)], InvalidTtlError),
        ([("a", 1), ("b", 2, -1.5)], InvalidTtlError),
        ([("a", 1), ("b", 2, float("nan"))], InvalidTtlError),
        ([("a", 1), ("b",)], InvalidOperationFormatError),
        ([("a", 1), ("b", 1, 2, 3)], InvalidOperationFormatError),
        ([("a", 1), "bc"], InvalidOperationFormatError),
        ([("a", 1), None], InvalidOperationFormatError),
        ([(1, 1)], InvalidOperationFormatError),
        ([("a", 1), ("b", object())], InvalidValueError),
        ([("a", 1), ("b", "x" * 17_000_000)], ValueTooLargeError),
        ([("a", 1), ("b", 2, "60")], TypeError),
        (None, TypeError),
        (5, TypeError),
        ("ab", TypeError),
    ],
    ids=lambda value: repr(value)[:40] if not isinstance(value, type) else value.__name__,
)
def test_one_bad_item_stops_the_whole_batch(db, items, error):
    with pytest.raises(error):
        db.put_many(items)
    assert db.get_all() == {}


def test_a_bad_touch_stops_the_whole_batch(db):
    db.put("a", 1)
    for ttl in (0, -1, None, float("inf")):
        with pytest.raises(InvalidTouchOperationError):
            db.touch_many([("a", 60), ("b", ttl)])
    assert db.ttl("a") is None


def test_an_iterable_that_raises_stops_the_batch(db):
    def items():
        yield "a", 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        db.put_many(items())
    assert len(db) == 0


def test_keys_are_walked_in_order_within_bounds(db):
    db.put_many({f"user:{number}": number for number in range(5)})
    db.put_many({"admin": 0, "zoo": 9})
    assert list(db.keys("user:")) == [f"user:{number}" for number in range(5)]
    assert list(db.keys(start="user:3")) == ["user:3", "user:4", "zoo"]
    assert list(db.keys(end="user:1")) == ["admin", "user:0"]
    assert dict(db.items("user:", start="user:1", end="user:3")) == {"user:1": 1, "user:2": 2}
    records = dict(db.records(b"zoo"))
    assert isinstance(records["zoo"], Record)
    assert list(db.keys("nobody")) == []


def test_a_walk_sees_the_store_as_it_was_when_it_began(db):
    db.put_many({"a": 1, "b": 2, "c": 3})
    walk = db.items()
    assert next(walk) == ("a", 1)
    db.put("b", "changed")
    db.put("bb", "new")
    db.delete("c")
    assert list(walk) == [("b", 2), ("c", 3)]
    assert list(walk) == []
    assert db.get_all() == {"a": 1, "b": "changed", "bb": "new"}


def test_a_walk_that_is_left_early_and_one_whose_store_closes_are_no_trouble():
    db = Db()
    db.put_many({"a": 1, "b": 2})
    walk, left = db.keys(), db.keys()
    next(walk)
    next(left)
    del left
    gc.collect()
    db.close()
    with pytest.raises(ClosedError):
        list(walk)
    assert list(walk) == []
