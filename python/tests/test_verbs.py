"""Verbs of a single key: what a Python program sees when it stores, reads, guards, counts and lets expire."""

from __future__ import annotations

import time

import pytest

import concord_kv
from concord_kv import (
    ABSENT,
    AlreadyExistsError,
    ConditionFailedError,
    ConflictingConditionsError,
    InvalidConditionError,
    MissingConditionError,
    NotAnIntegerError,
    NotFoundError,
    Record,
    ValueTooLargeError,
)


def test_a_stored_value_is_read_back_until_it_is_deleted(db):
    db.put("user", {"name": "Ann"})
    assert db.get("user") == {"name": "Ann"}
    db.delete("user")
    assert db.get("user") is None
    assert db.get("user", "nobody") == "nobody"
    db.delete("user")


def test_a_stored_none_is_not_a_missing_key(db):
    db.put("nothing", None)
    assert db.get("nothing", "default") is None
    assert "nothing" in db
    assert db["nothing"] is None


def test_a_store_feels_like_a_dict(db):
    db["a"] = 1
    db["b"] = [2]
    assert (db["a"], db["b"], len(db), "a" in db, "c" in db) == (1, [2], 2, True, False)
    assert list(db) == ["a", "b"]
    assert dict(db.items()) == {"a": 1, "b": [2]}
    assert list(db.values()) == [1, [2]]
    del db["a"]
    assert "a" not in db
    with pytest.raises(KeyError):
        db["a"]
    with pytest.raises(KeyError):
        del db["a"]
    assert bool(db)


def test_str_and_bytes_keys_are_the_same_key_and_other_bytes_stay_bytes(db):
    db.put("ключ", 1)
    assert db["ключ".encode()] == 1
    db.put(b"\xff\x00", 2)
    assert db[b"\xff\x00"] == 2
    assert list(db.keys()) == ["ключ", b"\xff\x00"]


def test_put_new_happens_once(db):
    db.put_new("lock", "me")
    with pytest.raises(AlreadyExistsError):
        db.put_new("lock", "you")
    assert db["lock"] == "me"


def test_a_record_has_a_revision_that_grows(db):
    db.put("a", 1, ttl=60)
    first = db.get_record("a")
    assert isinstance(first, Record)
    assert (first.value, 58 < first.ttl <= 60) == (1, True)
    db.put("b", 2)
    db.put("a", 3)
    second = db.get_record("a")
    assert second.revision > db.get_record("b").revision > first.revision
    assert second.ttl is None


def test_put_if_expected_compares_by_worth(db):
    db.put("a", 1)
    db.put_if("a", None, expected=1.0)
    db.put_if("a", {"x": 1, "y": 2}, expected=None)
    db.put_if("a", "done", expected={"y": 2, "x": 1})
    with pytest.raises(ConditionFailedError):
        db.put_if("a", 0, expected="other")
    with pytest.raises(NotFoundError):
        db.put_if("b", 0, expected=None)
    assert db["a"] == "done"


def test_put_if_absent_creates_once(db):
    db.put_if("a", 1, expected=ABSENT)
    with pytest.raises(AlreadyExistsError):
        db.put_if("a", 2, expected=ABSENT)
    with pytest.raises(InvalidConditionError):
        db.delete_if("a", expected=ABSENT)


def test_put_if_revision_refuses_a_record_that_changed(db):
    db.put("a", 1)
    revision = db.get_record("a").revision
    db.put_if("a", 2, revision=revision)
    with pytest.raises(ConditionFailedError):
        db.put_if("a", 3, revision=revision)
    with pytest.raises(ConditionFailedError):
        db.delete_if("a", revision=revision)
    db.delete_if("a", revision=db.get_record("a").revision)
    assert "a" not in db


def test_a_condition_is_a_function_of_the_current_value(db):
    db.put("stock", 3)
    db.put_if("stock", 2, condition=lambda count: count > 0)
    with pytest.raises(ConditionFailedError):
        db.put_if("stock", 99, condition=lambda count: count > 10)
    with pytest.raises(NotFoundError):
        db.put_if("nothing", 1, condition=lambda value: True)
    with pytest.raises(ConditionFailedError):
        db.delete_if("stock", condition=lambda count: count == 0)
    db.delete_if("stock", condition=lambda count: count == 2)
    assert "stock" not in db


def test_a_condition_is_asked_again_when_the_record_changed_meanwhile(db):
    db.put("a", 1)
    seen = []

    def condition(value):
        seen.append(value)
        if len(seen) == 1:
            db.put("a", 2)  # somebody else, between reading and writing
        return True

    db.put_if("a", 3, condition=condition)
    assert (seen, db["a"]) == ([1, 2], 3)


def test_a_condition_that_raises_raises_here_and_harms_nothing(db):
    db.put("a", 1)
    with pytest.raises(ZeroDivisionError):
        db.put_if("a", 2, condition=lambda value: 1 / 0)
    assert db["a"] == 1
    db.put_if("a", 2, expected=1)


def test_conditions_are_exactly_one(db):
    with pytest.raises(MissingConditionError):
        db.put_if("a", 1)
    with pytest.raises(MissingConditionError):
        db.delete_if("a")
    with pytest.raises(ConflictingConditionsError):
        db.put_if("a", 1, expected=1, revision=1)
    with pytest.raises(ConflictingConditionsError):
        db.put_if("a", 1, expected=None, condition=bool)
    with pytest.raises(InvalidConditionError):
        db.put_if("a", 1, condition=7)
    with pytest.raises(ConflictingConditionsError):
        db.put_if("a", 1, expected=None, condition="value > 3")
    with pytest.raises(InvalidConditionError):
        db.put_if("a", 1, revision=-1)


def test_increment_counts(db):
    assert db.increment("n") == 1
    assert db.increment("n", 5) == 6
    assert db.increment("n", by=-10) == -4
    assert db.increment("m", initial=100) == 101
    assert db.increment("t", ttl=60) == 1
    assert db.ttl("t") is not None
    db.put("s", "text")
    with pytest.raises(NotAnIntegerError):
        db.increment("s")
    with pytest.raises(TypeError):
        db.increment("s")
    db.put("max", 2**63 - 1)
    with pytest.raises(ValueTooLargeError):
        db.increment("max")
    assert db["max"] == 2**63 - 1


def test_a_lifetime_ends(db):
    db.put("short", 1, ttl=0.05)
    db.put("other", 1)
    assert db["short"] == 1
    time.sleep(0.08)
    assert db.get("short") is None
    assert "short" not in db
    assert list(db) == ["other"]
    with pytest.raises(NotFoundError):
        db.touch("short", 60)


def test_lifetimes_are_seconds_and_can_be_changed(db):
    db.put("a", 1, 60)
    assert 58 < db.ttl("a") <= 60
    db.touch("a", 600)
    assert 598 < db.ttl("a") <= 600
    assert db.get_with_ttl("a")[0] == 1
    db.put("a", 2)
    assert db.ttl("a") is None
    assert db.get_with_ttl("a") == (2, None)
    db.put_with_ttl("a", 3, 1.5)
    assert 0 < db.ttl("a") <= 1.5
    for verb in (db.ttl, db.get_with_ttl, db.get_record):
        with pytest.raises(NotFoundError):
            verb("missing")


def test_every_level_of_reading_is_taken(db):
    db.put("a", 1)
    for consistency in ("eventual", "leader", "strong", None):
        assert db.get("a", consistency=consistency) == 1
        assert db.get_record("a", consistency=consistency).value == 1
        assert db.get_many(["a"], consistency=consistency, timeout=1) == {"a": 1}
        assert db.get_all(consistency=consistency) == {"a": 1}


def test_large_values_travel_compressed_or_not(db):
    for compress in (None, True, False):
        db.put("large", "abc" * 100_000, compress=compress)
        assert db["large"] == "abc" * 100_000


def test_status_and_members_tell_about_the_store(db):
    db.put("a", 1)
    status = db.status()
    assert status["cluster"]["state"] == "leader"
    assert status["storage"]["size"] == 1
    assert len(db.members()) == 1


def test_each_error_is_its_own_class_with_its_code():
    classes = concord_kv.ConcordError.__subclasses__()
    assert sorted(error.code for error in classes) == list(range(1, 28))
    assert len({error.kind for error in classes}) == 27
    assert issubclass(concord_kv.NotFoundError, KeyError)
    assert issubclass(concord_kv.TimedOutError, TimeoutError)
    assert issubclass(concord_kv.ForbiddenError, PermissionError)
    assert not issubclass(concord_kv.UnknownOutcomeError, TimeoutError)
    assert str(concord_kv.NotFoundError("no such key: 'a'")) == "not_found: no such key: 'a'"


def test_a_store_on_disk_is_there_again(tmp_path):
    directory = tmp_path / "data"
    with concord_kv.open(directory) as db:
        db.put("a", {"kept": [1, 2, 3]})
        db.put("b", 2, ttl=100)
    assert directory.stat().st_mode & 0o777 == 0o700
    with concord_kv.open(str(directory), durability="interval", interval_ms=50) as db:
        assert db.get_all() == {"a": {"kept": [1, 2, 3]}, "b": 2}
        assert 90 < db.ttl("b") <= 100
    with concord_kv.open(bytes(directory), durability="always") as db:
        assert len(db) == 2


def test_the_environment_is_a_default_and_what_is_said_wins(tmp_path, monkeypatch):
    monkeypatch.setenv("CONCORD_DATA_DIR", str(tmp_path / "environment"))
    with concord_kv.open() as db:
        db.put("a", 1)
    with concord_kv.open(tmp_path / "said") as db:
        assert "a" not in db
    with concord_kv.open() as db:
        assert db["a"] == 1
