"""Misuse: wrong types, wrong values, closed stores. Always the error of the contract, and nothing lost."""

from __future__ import annotations

import copy
import math
import pickle

import pytest

import concord_kv
from concord_kv import (
    Atom,
    ClosedError,
    InvalidConfigError,
    InvalidKeyError,
    InvalidTtlError,
    InvalidValueError,
    LockedError,
    ValueTooLargeError,
    _native,
)

KEY_VERBS = {
    "get": lambda db, key: db.get(key),
    "getitem": lambda db, key: db[key],
    "contains": lambda db, key: key in db,
    "setitem": lambda db, key: db.__setitem__(key, 1),
    "delitem": lambda db, key: db.__delitem__(key),
    "get_record": lambda db, key: db.get_record(key),
    "get_with_ttl": lambda db, key: db.get_with_ttl(key),
    "ttl": lambda db, key: db.ttl(key),
    "put": lambda db, key: db.put(key, 1),
    "put_new": lambda db, key: db.put_new(key, 1),
    "put_if": lambda db, key: db.put_if(key, 1, expected=1),
    "put_if_condition": lambda db, key: db.put_if(key, 1, condition=bool),
    "put_with_ttl": lambda db, key: db.put_with_ttl(key, 1, 60),
    "delete": lambda db, key: db.delete(key),
    "delete_if": lambda db, key: db.delete_if(key, expected=1),
    "increment": lambda db, key: db.increment(key),
    "touch": lambda db, key: db.touch(key, 60),
    "get_many": lambda db, key: db.get_many([key]),
}
OTHER_VERBS = {
    "put_many": lambda db: db.put_many([("a", 1)]),
    "put_many_with_ttl": lambda db: db.put_many_with_ttl([("a", 1)], 5),
    "delete_many": lambda db: db.delete_many(["a"]),
    "touch_many": lambda db: db.touch_many([("a", 5)]),
    "keys": lambda db: list(db.keys()),
    "items": lambda db: list(db.items()),
    "iter": lambda db: list(db),
    "len": len,
    "get_all": lambda db: db.get_all(),
    "get_all_with_ttl": lambda db: db.get_all_with_ttl(),
    "status": lambda db: db.status(),
    "members": lambda db: db.members(),
}


@pytest.mark.parametrize("verb", KEY_VERBS)
def test_a_key_is_str_or_bytes_of_1_to_1024_bytes(db, verb):
    db.put("keep", 1)
    for wrong in (None, 1, 1.5, bytearray(b"a"), ["a"], ("a",), object()):
        with pytest.raises(TypeError):
            KEY_VERBS[verb](db, wrong)
    for wrong in ("", b"", "x" * 1025, b"x" * 1025, "ü" * 513, "\ud800"):
        with pytest.raises(InvalidKeyError):
            KEY_VERBS[verb](db, wrong)
    assert db.get_all() == {"keep": 1}


def test_a_key_of_1024_bytes_is_fine_and_so_is_an_atom(db):
    db.put("x" * 1024, 1)
    db.put(Atom("atom"), 2)
    assert db["x" * 1024] == 1
    assert db["atom"] == 2


@pytest.mark.parametrize("ttl", [0, -1, 0.0, 0.0009, -0.5, math.nan, math.inf, -math.inf, 10**12, 10**30, 1e300])
def test_a_lifetime_is_a_positive_duration(db, ttl):
    db.put("keep", 1)
    for call in (
        lambda: db.put("keep", 2, ttl),
        lambda: db.put("keep", 2, ttl=ttl),
        lambda: db.put_with_ttl("keep", 2, ttl),
        lambda: db.put_new("new", 2, ttl),
        lambda: db.put_if("keep", 2, expected=1, ttl=ttl),
        lambda: db.touch("keep", ttl),
        lambda: db.increment("keep", ttl=ttl),
        lambda: db.put_many_with_ttl([("keep", 2)], ttl),
    ):
        with pytest.raises(InvalidTtlError):
            call()
    assert db.get_all_with_ttl() == {"keep": (1, None)}


@pytest.mark.parametrize("ttl", ["60", b"60", True, [60], object(), 1j])
def test_a_lifetime_of_another_type_is_misuse(db, ttl):
    for call in (lambda: db.put("a", 1, ttl), lambda: db.touch("a", ttl), lambda: db.put_many([("a", 1, ttl)])):
        with pytest.raises(TypeError):
            call()


def test_none_is_no_lifetime_to_touch_with(db):
    for call in (
        lambda: db.touch("a", None),
        lambda: db.put_with_ttl("a", 1, None),
        lambda: db.put_many_with_ttl([("a", 1)], None),
    ):
        with pytest.raises(InvalidTtlError):
            call()


def test_a_value_that_cannot_be_stored_changes_nothing(db):
    db.put("keep", 1)
    deep = 1
    for _ in range(128):
        deep = [deep]
    for wrong in (object(), {1: {2: print}}, deep):
        with pytest.raises(InvalidValueError):
            db.put("keep", wrong)
    with pytest.raises(InvalidValueError):
        db.put_if("keep", 2, expected=object())
    for size in (17 * 1024 * 1024, 100 * 1024 * 1024):
        with pytest.raises(ValueTooLargeError):
            db.put("keep", b"x" * size)
    with pytest.raises(ValueTooLargeError):
        db.put("keep", "x" * (17 * 1024 * 1024), compress=True)
    assert db.get_all() == {"keep": 1}
    db.put("keep", b"x" * (16 * 1024 * 1024 - 5))
    assert len(db["keep"]) == 16 * 1024 * 1024 - 5


def test_the_largest_value_is_an_option():
    with concord_kv.open(value_bytes_max=2000) as db:
        db.put("a", b"x" * 1900)
        with pytest.raises(ValueTooLargeError):
            db.put("a", b"x" * 2001)
        with pytest.raises(ValueTooLargeError):
            db.put_many([("a", b"x" * 2001)])


def test_arguments_are_named_and_counted(db):
    for call in (
        lambda: db.put("a"),
        lambda: db.put(),
        lambda: db.put("a", 1, 2, 3),
        lambda: db.put("a", 1, key="b"),
        lambda: db.put("a", 1, tll=5),
        lambda: db.get(),
        lambda: db.get("a", 1, 2),
        lambda: db.get("a", default=1, consistancy="leader"),
        lambda: db.get("a", consistency=1),
        lambda: db.get("a", timeout="1"),
        lambda: db.put("a", 1, compress="yes"),
        lambda: db.put("a", 1, timeout=True),
        lambda: db.increment("a", "1"),
        lambda: db.increment("a", 1.5),
        lambda: db.increment("a", True),
        lambda: db.increment("a", initial="0"),
        lambda: db.put_if("a", 1, revision="1"),
        lambda: db.delete_many("ab"),
        lambda: db.get_many("ab"),
        lambda: db.get_many(3),
        lambda: db.keys(prefix=1),
        lambda: db.touch("a"),
    ):
        with pytest.raises(TypeError):
            call()
    for call in (
        lambda: db.get("a", consistency="quorum"),
        lambda: db.get("a", timeout=0),
        lambda: db.put("a", 1, timeout=-1),
        lambda: db.put("a", 1, timeout=math.nan),
        lambda: db.keys(consistency="x"),
    ):
        with pytest.raises(InvalidConfigError):
            call()
    with pytest.raises(ValueTooLargeError):
        db.increment("a", 2**63)
    assert len(db) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"durability": "sometimes"},
        {"durability": "interval", "interval_ms": 0},
        {"durability": "interval", "interval_ms": 60_001},
        {"durability": "always", "interval_ms": 10},
        {"interval_ms": 10},
        {"default_consistency": "most"},
        {"compression": "brotli"},
        {"compression": True},
        {"compression_level": 10},
        {"compression_level": -1},
        {"value_bytes_max": 10},
        {"value_bytes_max": 2**40},
        {"expiry_interval_ms": 1},
        {"snapshot_log_bytes": 1},
        {"path": ""},
        {"path": "a\0b"},
    ],
    ids=str,
)
def test_wrong_options_are_refused(options):
    with pytest.raises(InvalidConfigError):
        concord_kv.open(**options)


@pytest.mark.parametrize(
    "options", [{"path": 1}, {"durability": 1}, {"value_bytes_max": "1"}, {"value_bytes_max": True}, {"sync": True}]
)
def test_options_of_wrong_types_are_misuse(options):
    with pytest.raises(TypeError):
        concord_kv.open(**options)


def test_a_directory_that_cannot_be_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="io"):
        concord_kv.open(tmp_path / "file" / "below")


def test_a_directory_is_open_once(tmp_path):
    with concord_kv.open(tmp_path), pytest.raises(LockedError):
        concord_kv.open(tmp_path)
    concord_kv.open(tmp_path).close()


def test_a_closed_store_says_so_in_every_verb():
    db = concord_kv.open()
    db.put("a", 1)
    db.close()
    db.close()
    assert db.closed
    assert "closed" in repr(db)
    for name, call in {**{name: lambda db, v=v: v(db, "a") for name, v in KEY_VERBS.items()}, **OTHER_VERBS}.items():
        with pytest.raises(ClosedError):
            call(db)
            pytest.fail(name)


def test_a_store_that_closes_while_a_value_is_built_is_no_trouble():
    db = concord_kv.open()

    class Closing(dict):
        def __iter__(self):
            return super().__iter__()

    def items():
        db.close()
        yield "a", 1

    with pytest.raises(ClosedError):
        db.put_many(items())
    with pytest.raises(ClosedError):
        db.put("a", Closing())


def test_a_store_is_neither_copied_nor_pickled(db):
    for call in (lambda: pickle.dumps(db), lambda: copy.copy(db), lambda: copy.deepcopy(db)):
        with pytest.raises(TypeError):
            call()


def test_the_native_classes_cannot_be_made_by_accident():
    with pytest.raises(TypeError):
        _native.Store()
    with pytest.raises(TypeError):
        _native.Scan()
    with pytest.raises(TypeError):
        _native.Queue(1, 2)


def test_errors_can_be_pickled():
    error = pickle.loads(pickle.dumps(concord_kv.NotFoundError("x")))
    assert (type(error), str(error)) == (concord_kv.NotFoundError, "not_found: x")
