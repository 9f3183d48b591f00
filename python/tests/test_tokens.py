"""Tokens: who may do what, through handles and through token= of single calls, here and in asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
from datetime import datetime, timedelta, timezone

import pytest

import concord_kv
from concord_kv import (
    ClosedError,
    CreatedToken,
    ForbiddenError,
    InvalidConfigError,
    InvalidKeyError,
    InvalidTtlError,
    MissingConditionError,
    NoprocError,
    NotFoundError,
    TokenInfo,
    UnauthorizedError,
    aio,
)

COOKIE = "a long secret of these tests"
FORGED = "sk_concord_" + "0" * 72
WAIT_S = 30

READ = {
    "get": lambda db, key, **o: db.get(key, **o),
    "get_record": lambda db, key, **o: db.get_record(key, **o),
    "get_with_ttl": lambda db, key, **o: db.get_with_ttl(key, **o),
    "ttl": lambda db, key, **o: db.ttl(key, **o),
    "get_many": lambda db, key, **o: db.get_many([key], **o),
    "keys": lambda db, key, **o: drained(db.keys(key, **o)),
    "items": lambda db, key, **o: drained(db.items(key, **o)),
    "keys_where": lambda db, key, **o: drained(db.keys(key, where="true", **o)),
    "count": lambda db, key, **o: db.count(key, **o),
}
WRITE = {
    "put": lambda db, key, **o: db.put(key, 1, **o),
    "put_new": lambda db, key, **o: db.put_new(key, 1, **o),
    "put_if_revision": lambda db, key, **o: db.put_if(key, 1, revision=7, **o),
    "put_with_ttl": lambda db, key, **o: db.put_with_ttl(key, 1, 60, **o),
    "delete": lambda db, key, **o: db.delete(key, **o),
    "delete_if_revision": lambda db, key, **o: db.delete_if(key, revision=7, **o),
    "increment": lambda db, key, **o: db.increment(key, **o),
    "touch": lambda db, key, **o: db.touch(key, 60, **o),
    "put_many": lambda db, key, **o: db.put_many({key: 1}, **o),
    "put_many_with_ttl": lambda db, key, **o: db.put_many_with_ttl({key: 1}, 60, **o),
    "delete_many": lambda db, key, **o: db.delete_many([key], **o),
    "touch_many": lambda db, key, **o: db.touch_many({key: 60}, **o),
    "delete_where": lambda db, key, **o: db.delete_where(key, **o),
}
BOTH = {
    "put_if": lambda db, key, **o: db.put_if(key, 1, expected=1, **o),
    "put_if_condition": lambda db, key, **o: db.put_if(key, 1, condition=lambda value: True, **o),
    "delete_if": lambda db, key, **o: db.delete_if(key, expected=2, **o),
    "put_if_expression": lambda db, key, **o: db.put_if(key, 1, condition="true", **o),
    "delete_by_value": lambda db, key, **o: db.delete_where(key, where="value == 2", **o),
}
VERBS = {
    **{name: (call, {"read"}) for name, call in READ.items()},
    **{name: (call, {"write"}) for name, call in WRITE.items()},
    **{name: (call, {"read", "write"}) for name, call in BOTH.items()},
}
WHOLE = {
    "status": (lambda db, **o: db.status(**o), {"read"}),
    "members": (lambda db, **o: db.members(**o), {"read"}),
    "get_all": (lambda db, **o: db.get_all(**o), {"read"}),
    "get_all_with_ttl": (lambda db, **o: db.get_all_with_ttl(**o), {"read"}),
}
ADMIN = {
    "tokens.list": lambda db: db.tokens.list(),
    "tokens.create": lambda db: db.tokens.create("x", "read"),
    "tokens.revoke": lambda db: db.tokens.revoke("0123456789abcdef"),
    "cluster.promote": lambda db: db.cluster.promote(7, timeout=1),
}


def drained(iterator):
    """All items, of either kind of iterator."""
    if hasattr(iterator, "__aiter__"):

        async def items():
            return [item async for item in iterator]

        return items()
    return list(iterator)


def silent_of_tokens(error):
    """The class of an error, which tells of no token."""
    assert "sk_concord_" not in str(error)
    return type(error)


def outcome(call, *arguments, **options):
    """How a call ends: the class of its error, or None."""
    try:
        call(*arguments, **options)
    except concord_kv.ConcordError as error:
        return silent_of_tokens(error)
    return None


async def outcome_of(call, *arguments, **options):
    """The same of a coroutine."""
    try:
        await call(*arguments, **options)
    except concord_kv.ConcordError as error:
        return silent_of_tokens(error)
    return None


def expected_of(scopes, needs, is_valid=True):
    """What a call has to answer: an error class, or nothing in particular."""
    if not is_valid:
        return UnauthorizedError
    return None if "admin" in scopes or needs <= scopes else ForbiddenError


def judge(name, expected, answer):
    """Judge an answer: calls that are allowed may fail for other reasons."""
    if expected is None:
        assert answer not in (UnauthorizedError, ForbiddenError), name
    else:
        assert answer is expected, name


@pytest.fixture
def guarded():
    """A store in memory whose every call needs a token."""
    with concord_kv.open(auth_enabled=True) as store:
        yield store


def check_all(db, scopes, token, is_valid=True, named=None):
    """Judge every verb, through a handle and with token=, over a handle that may do nothing and one that may do all."""
    admin = db.as_admin()
    for name, (call, needs) in VERBS.items():
        expected = expected_of(scopes, needs, is_valid)
        if named is not None:
            admin["app:a"] = 1
            judge(f"{name} of a handle", expected, outcome(call, named, "app:a"))
        for over in (db, admin):
            admin["app:a"] = 1
            judge(f"{name} with token=", expected, outcome(call, over, "app:a", token=token))
    for name, (call, needs) in WHOLE.items():
        expected = expected_of(scopes, needs, is_valid)
        judge(f"{name} with token=", expected, outcome(call, admin, token=token))
        if named is not None:
            judge(f"{name} of a handle", expected, outcome(call, named))
    for name, call in ADMIN.items() if named is not None else ():
        judge(name, expected_of(scopes, {"admin"}, is_valid), outcome(call, named))


@pytest.mark.parametrize(
    "scopes", [{"read"}, {"write"}, {"read", "write"}, {"admin"}], ids=lambda s: "+".join(sorted(s))
)
def test_every_verb_asks_for_what_it_needs(guarded, scopes):
    admin = guarded.as_admin()
    admin["app:a"] = 1
    created = admin.tokens.create("test", scopes)
    named = guarded.with_token(created.token)
    check_all(guarded, scopes, created.token, named=named)
    admin.tokens.revoke(created.info.id)
    check_all(guarded, scopes, created.token, is_valid=False, named=named)


def test_without_a_token_nothing_is_told(guarded):
    guarded.as_admin()["app:a"] = 1
    for call, _ in VERBS.values():
        assert outcome(call, guarded, "app:a") is UnauthorizedError
    for call in [call for call, _ in WHOLE.values()] + list(ADMIN.values()):
        assert outcome(call, guarded) is UnauthorizedError
    for call in (
        lambda: guarded["app:a"],
        lambda: "app:a" in guarded,
        lambda: len(guarded),
        lambda: list(guarded),
        lambda: guarded.__setitem__("app:a", 2),
        lambda: guarded.__delitem__("app:a"),
    ):
        with pytest.raises(PermissionError):
            call()
    assert guarded.auth_enabled
    assert guarded.cluster.ready
    assert "concord_" in guarded.metrics_text()


def test_a_token_reaches_its_prefixes(guarded):
    admin = guarded.as_admin()
    created = admin.tokens.create("app", ["read", "write"], prefixes=["app:", b"\xff"])
    app = guarded.with_token(created.token)
    admin["other"] = 1
    for name, (call, _) in VERBS.items():
        judge(name, None, outcome(call, app, "app:a"))
        judge(name, None, outcome(call, guarded, b"\xffx", token=created.token))
        judge(name, ForbiddenError, outcome(call, app, "other"))
        judge(name, ForbiddenError, outcome(call, guarded, "nobody", token=created.token))
    assert admin["other"] == 1
    with pytest.raises(ForbiddenError):
        app.get_all()
    assert created.info.prefixes == ("app:", b"\xff")


def test_a_token_ends_when_its_time_is_over(guarded):
    created = guarded.as_admin().tokens.create("brief", "admin", ttl=0.3)
    named = guarded.with_token(created.token)
    named["app:a"] = 1
    time.sleep(0.35)
    check_all(guarded, {"admin"}, created.token, is_valid=False, named=named)
    with pytest.raises(UnauthorizedError):
        guarded.with_token(created.token)


WRONG_CALLS = {
    "empty key": (lambda db, **o: db.put("", 1, **o), InvalidKeyError),
    "long key": (lambda db, **o: db.get("k" * 1025, **o), InvalidKeyError),
    "surrogate": (lambda db, **o: db.get("\ud800", **o), InvalidKeyError),
    "ttl": (lambda db, **o: db.put("a", 1, 0, **o), InvalidTtlError),
    "ttl of touch": (lambda db, **o: db.touch("a", None, **o), InvalidTtlError),
    "value": (lambda db, **o: db.put("a", object(), **o), concord_kv.InvalidValueError),
    "condition": (lambda db, **o: db.put_if("a", 1, **o), MissingConditionError),
    "conditions": (
        lambda db, **o: db.delete_if("a", expected=1, revision=1, **o),
        concord_kv.ConflictingConditionsError,
    ),
    "no ttl": (lambda db, **o: db.put_with_ttl("a", 1, None, **o), InvalidTtlError),
    "no ttls": (lambda db, **o: db.put_many_with_ttl([("a", 1)], None, **o), InvalidTtlError),
    "item": (lambda db, **o: db.put_many([1], **o), concord_kv.InvalidOperationFormatError),
    "batch": (lambda db, **o: db.delete_many(["a"] * 501, **o), concord_kv.BatchTooLargeError),
    "keys": (lambda db, **o: db.get_many([""], **o), InvalidKeyError),
}


@pytest.mark.parametrize("wrong", WRONG_CALLS)
def test_the_token_is_judged_before_all_else(guarded, wrong):
    call, usual = WRONG_CALLS[wrong]
    admin = guarded.as_admin()
    token = admin.tokens.create("all", ["read", "write"]).token
    nothing = admin.tokens.create("gone", ["read", "write"])
    admin.tokens.revoke(nothing.token)

    def check(db, over):
        assert outcome(call, db) is UnauthorizedError
        assert outcome(call, over, token=nothing.token) is UnauthorizedError
        assert outcome(call, db, token="") is UnauthorizedError
        assert outcome(call, db, token=token) is usual
        assert outcome(call, over) is usual

    check(guarded, admin)
    reader = admin.tokens.create("reader", "read").token
    if usual is not InvalidKeyError:
        assert outcome(call, guarded, token=reader) is ForbiddenError

    async def twin():
        async with aio.open(auth_enabled=True) as db:
            all_rights = db.as_admin()
            fine = (await all_rights.tokens.create("all", ["read", "write"])).token
            assert await outcome_of(call, db) is UnauthorizedError
            assert await outcome_of(call, all_rights, token=FORGED) is UnauthorizedError
            assert await outcome_of(call, db, token=fine) is usual
            await all_rights.close()

    asyncio.run(twin())


@pytest.mark.parametrize(
    "wrong",
    ["", " ", "sk_concord_", FORGED, "a\0b", "\ud800", "é" * 40, "x" * (8 << 20), "sk_concord_" + "g" * 72],
    ids=["empty", "blank", "prefix", "forged", "nul", "surrogate", "letters", "huge", "digits"],
)
def test_what_is_no_token_is_unauthorized(guarded, wrong):
    admin = guarded.as_admin()
    for call in (
        lambda: guarded.with_token(wrong),
        lambda: admin.put("a", 1, token=wrong),
        lambda: admin.get("a", token=wrong),
        lambda: list(admin.keys(token=wrong)),
        lambda: admin.status(token=wrong),
        lambda: (
            concord_kv.connect("127.0.0.1:1", token=wrong, timeout=0.2)
            if len(wrong) < 2 or "\0" in wrong
            else admin.get("a", token=wrong)
        ),
    ):
        with pytest.raises(UnauthorizedError) as caught:
            call()
        assert len(str(caught.value)) < 200
        assert len(wrong) < 20 or wrong[11:30] not in str(caught.value)
    assert "a" not in admin


def test_a_token_of_another_type_is_misuse(guarded):
    for wrong in (b"sk_concord_", 1, True, ["x"], object()):
        for call in (
            lambda wrong=wrong: guarded.with_token(wrong),
            lambda wrong=wrong: guarded.get("a", token=wrong),
            lambda wrong=wrong: guarded.put("a", 1, token=wrong),
            lambda wrong=wrong: guarded.keys(token=wrong),
            lambda wrong=wrong: concord_kv.connect("127.0.0.1:1", token=wrong),
        ):
            with pytest.raises(TypeError):
                call()
    with pytest.raises(TypeError):
        guarded.with_token(None)


# ---- making, listing, keeping ----


def test_what_is_known_of_a_token(db):
    before = datetime.now(timezone.utc) - timedelta(seconds=1)
    created = db.tokens.create("web", ["read", "write"], prefixes=["user:"], ttl=3600)
    assert isinstance(created, CreatedToken)
    assert isinstance(created.info, TokenInfo)
    info = created.info
    assert (info.name, info.scopes, info.prefixes) == ("web", {"read", "write"}, ("user:",))
    assert len(info.id) == 16
    assert before < info.created < before + timedelta(minutes=1)
    assert abs(info.expires - info.created - timedelta(hours=1)) < timedelta(seconds=1)
    assert info.last_used is None
    assert db.tokens.list() == [info]
    db.with_token(created.token).put("user:1", 1)
    assert db.tokens.list()[0].last_used > before
    assert db.tokens.create("x", "read").info.expires is None
    db.tokens.revoke(created.token)
    assert [token.name for token in db.tokens.list()] == ["x"]
    with pytest.raises(NotFoundError) as caught:
        db.tokens.revoke(created.token)
    assert created.token not in str(caught.value)


def test_no_repr_shows_a_token(guarded):
    created = guarded.as_admin().tokens.create("secret", "read")
    named = guarded.with_token(created.token)
    for thing in (created, created.info, named, named.tokens, guarded.tokens, [created], {"a": created}):
        assert created.token not in repr(thing)
        assert created.token not in str(thing)
        assert created.token[11:] not in repr(thing)
    assert guarded.as_admin().tokens.list()[0].id not in created.token


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        (("x", []), {}, InvalidConfigError),
        (("x", ["everything"]), {}, InvalidConfigError),
        (("x", "read,write"), {}, InvalidConfigError),
        (("x", [1]), {}, TypeError),
        ((1, "read"), {}, TypeError),
        (("n" * 65, "read"), {}, InvalidConfigError),
        (("a\nb", "read"), {}, InvalidConfigError),
        (("a\0b", "read"), {}, InvalidConfigError),
        (("x", "read"), {"prefixes": [""]}, InvalidConfigError),
        (("x", "read"), {"prefixes": ["p"] * 33}, InvalidConfigError),
        (("x", "admin"), {"prefixes": ["p"]}, InvalidConfigError),
        (("x", "read"), {"prefixes": ["\ud800"]}, InvalidConfigError),
        (("x", "read"), {"prefixes": "user:"}, TypeError),
        (("x", "read"), {"prefixes": [1]}, TypeError),
        (("x", "read"), {"ttl": 0}, InvalidTtlError),
        (("x", "read"), {"ttl": -1}, InvalidTtlError),
        (("x", "read"), {"ttl": "1"}, TypeError),
    ],
)
def test_wrong_tokens_are_not_made(guarded, arguments, options, error):
    admin = guarded.as_admin()
    with pytest.raises(error):
        admin.tokens.create(*arguments, **options)
    if error is not TypeError:
        with pytest.raises(UnauthorizedError):
            guarded.tokens.create(*arguments, **options)
    assert admin.tokens.list() == []


def test_tokens_survive_a_restart(tmp_path):
    with concord_kv.open(tmp_path, auth_enabled=True) as db:
        kept = db.as_admin().tokens.create("kept", ["read", "write"]).token
        gone = db.as_admin().tokens.create("gone", "read").token
        db.as_admin().tokens.revoke(gone)
        db.put("a", 7, token=kept)
    with concord_kv.open(tmp_path, auth_enabled=True) as db:
        assert db.get("a", token=kept) == 7
        with pytest.raises(UnauthorizedError):
            db.get("a", token=gone)


def test_a_revocation_is_immediate_for_handles_and_walks_that_exist(guarded):
    admin = guarded.as_admin()
    token = admin.tokens.create("app", ["read", "write"]).token
    first, second = guarded.with_token(token), guarded.with_token(token).with_token(token)
    first.put_many({f"{number:03}": number for number in range(100)})
    walk = second.items()
    next(walk)
    admin.tokens.revoke(token)
    with pytest.raises(UnauthorizedError):
        list(walk)
    for handle in (first, second):
        for call, _ in VERBS.values():
            assert outcome(call, handle, "a") is UnauthorizedError


# ---- handles ----


def test_closing_a_handle_leaves_the_store_open_and_closing_the_store_closes_it(guarded):
    admin = guarded.as_admin()
    token = admin.tokens.create("app", ["read", "write"]).token
    with guarded.with_token(token) as first:
        nested = first.with_token(token)
    assert first.closed
    with pytest.raises(ClosedError):
        first.put("a", 1)
    nested.put("a", 2)
    guarded.close()
    assert nested.closed
    assert admin.closed
    for handle in (nested, admin, guarded):
        with pytest.raises(ClosedError):
            handle.get("a")
        with pytest.raises(ClosedError):
            handle.with_token(token)
        handle.close()


def test_a_handle_keeps_its_store_open():
    handle = concord_kv.open().as_admin()
    handle["a"] = 1
    assert handle["a"] == 1
    handle._owner.close()
    assert handle.closed


def test_the_child_of_a_fork_may_not_use_a_handle(guarded):
    token = guarded.as_admin().tokens.create("app", ["read", "write"]).token
    app = guarded.with_token(token)
    child = os.fork()
    if child == 0:
        wrong = 0
        for call in (lambda: app.put("a", 1), lambda: guarded.get("a", token=token), lambda: guarded.with_token(token)):
            with contextlib.suppress(ClosedError):
                call()
                wrong += 1
        os._exit(wrong + (not app.closed))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    app["a"] = 2
    assert app["a"] == 2


def test_where_no_token_is_needed_one_that_is_used_counts(db):
    token = db.tokens.create("reader", "read").token
    db["a"] = 1
    assert not db.auth_enabled
    assert db.get("a", token=token) == 1
    with pytest.raises(ForbiddenError):
        db.put("a", 2, token=token)
    with pytest.raises(UnauthorizedError):
        db.get("a", token=FORGED)


# ---- the environment, clients ----


def test_the_environment_is_a_default(monkeypatch):
    monkeypatch.setenv("CONCORD_AUTH_ENABLED", "true")
    with concord_kv.open() as db, pytest.raises(UnauthorizedError):
        db.get("a")
    with concord_kv.open(auth_enabled=False) as db:
        assert db.get("a") is None
    with pytest.raises(TypeError):
        concord_kv.open(auth_enabled=1)


@pytest.fixture
def member():
    """A cluster of one whose every call needs a token, and its address."""
    with concord_kv.open(listen="127.0.0.1:0", bootstrap_expect=1, cookie=COOKIE, auth_enabled=True) as db:
        db.cluster.wait_ready(WAIT_S)
        yield db, db.as_admin().members()[0]["address"]


def test_a_client_acts_for_its_token(member, monkeypatch):
    db, address = member
    admin = db.as_admin()
    app, reader = (
        admin.tokens.create("app", ["read", "write"], prefixes=["app:"]).token,
        admin.tokens.create("reader", "read").token,
    )
    with concord_kv.connect(address, token=app) as client:
        client["app:a"] = 1
        with pytest.raises(ForbiddenError):
            client["other"] = 1
        assert client.get("app:a", token=reader) == 1
        assert dict(client.items("app:", token=reader)) == {"app:a": 1}
        assert client.get_many(["app:a"], token=reader) == {"app:a": 1}
        with pytest.raises(ForbiddenError):
            client.put("app:a", 2, token=reader)
        with client.with_token(reader) as named:
            assert named["app:a"] == 1
            with pytest.raises(ForbiddenError):
                named.put("app:a", 2)
        with pytest.raises(UnauthorizedError):
            client.get("app:a", token=FORGED)
        admin.tokens.revoke(app)
        with pytest.raises(UnauthorizedError):
            client.put("app:a", 3)
    with pytest.raises(UnauthorizedError) as caught:
        concord_kv.connect(address, token=app)
    assert app not in str(caught.value)
    with pytest.raises(InvalidConfigError, match="not both"):
        concord_kv.connect(address, token=reader, cookie=COOKIE)
    monkeypatch.setenv("CONCORD_TOKEN", reader)
    monkeypatch.setenv("CONCORD_COOKIE", "wrong")
    with concord_kv.connect(address) as client:
        assert client["app:a"] == 1


def test_a_client_of_the_directory_has_every_right(tmp_path, monkeypatch):
    with pytest.raises(NoprocError):
        concord_kv.connect(data_dir=tmp_path)
    with concord_kv.open(tmp_path, auth_enabled=True) as db:
        token = db.as_admin().tokens.create("reader", "read").token
        monkeypatch.setenv("CONCORD_TOKEN", token)
        with concord_kv.connect(data_dir=tmp_path) as client:
            client["a"] = 5
            assert db.as_admin()["a"] == 5
            assert [info.name for info in client.tokens.list()] == ["reader"]
            with pytest.raises(InvalidConfigError, match="every right"):
                client.with_token(token)
        with pytest.raises(InvalidConfigError, match="every right"):
            concord_kv.connect(data_dir=tmp_path, token=token)

        async def twin():
            async with aio.connect(data_dir=str(tmp_path)) as client:
                return await client.get("a")

        assert asyncio.run(twin()) == 5
    with concord_kv.open(tmp_path, local_socket=False), pytest.raises(NoprocError):
        concord_kv.connect(data_dir=tmp_path)
    for wrong in ({}, {"addresses": "127.0.0.1:1", "data_dir": tmp_path}):
        with pytest.raises(InvalidConfigError):
            concord_kv.connect(**wrong)


# ---- asyncio ----


def test_asyncio_judges_as_the_store_does():
    async def main():
        async with aio.open(auth_enabled=True) as db:
            admin = db.as_admin()
            for scopes in ({"read"}, {"write"}, {"read", "write"}, {"admin"}):
                created = await admin.tokens.create("test", scopes)
                named = await db.with_token(created.token)
                for is_valid in (True, False):
                    for name, (call, needs) in VERBS.items():
                        expected = expected_of(scopes, needs, is_valid)
                        await admin.put("app:a", 1)
                        judge(name, expected, await outcome_of(call, named, "app:a"))
                        for over in (db, admin):
                            await admin.put("app:a", 1)
                            answer = await outcome_of(call, over, "app:a", token=created.token)
                            judge(f"{name} with token=", expected, answer)
                    for name, (call, needs) in WHOLE.items():
                        expected = expected_of(scopes, needs, is_valid)
                        judge(name, expected, await outcome_of(call, db, token=created.token))
                    if is_valid:
                        await admin.tokens.revoke(created.info.id)
                assert created.token not in repr(named) + repr(named.tokens)
                await named.close()
            assert await admin.tokens.list() == []
            assert db.auth_enabled
            for call, _ in VERBS.values():
                assert await outcome_of(call, db, "app:a") is UnauthorizedError
            await admin.put("a", 1)
            await admin.close()
            assert not db.closed

    asyncio.run(main())


def test_asyncio_keeps_few_handles_and_closes_them():
    async def main():
        async with aio.open(auth_enabled=True) as db:
            admin = db.as_admin()
            tokens = [(await admin.tokens.create(str(number), ["read", "write"])).token for number in range(70)]
            before = len(os.listdir("/proc/self/fd"))
            await asyncio.gather(*(db.put("a", 1, token=tokens[0]) for _ in range(50)))
            assert len(db._holders) == 1
            for token in tokens:
                await db.put("a", 1, token=token)
            await asyncio.sleep(0.2)
            assert len(db._holders) <= aio.HOLDERS_MAX
            assert len(os.listdir("/proc/self/fd")) - before <= aio.HOLDERS_MAX + 2
            for wrong in (FORGED, "", "x"):
                with pytest.raises(UnauthorizedError):
                    await db.get("a", token=wrong)
            assert FORGED not in db._holders
            with pytest.raises(TypeError):
                await db.get("a", token=1)
            assert 1 not in db._holders
            async with db.with_token(tokens[1]) as named:
                assert await named.get("a") == 1
        assert db.closed
        assert named.closed
        with pytest.raises(ClosedError):
            await db.get("a", token=tokens[0])

    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(main())
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_asyncio_of_a_client_and_of_a_member(member):
    db, address = member
    app = db.as_admin().tokens.create("app", ["read", "write"], prefixes=["app:"]).token
    reader = db.as_admin().tokens.create("reader", "read").token

    async def main():
        async with aio.connect(address, token=app) as client:
            await client.put("app:a", 1)
            assert await client.get("app:a", token=reader) == 1
            assert await client.get_all(token=reader) == {"app:a": 1}
            with pytest.raises(ForbiddenError):
                await client.put("app:a", 1, token=reader)
            with pytest.raises(UnauthorizedError):
                await client.put("app:a", 1, token=FORGED)
            async with client.with_token(reader) as named:
                assert await named.get("app:a") == 1

    asyncio.run(main())
