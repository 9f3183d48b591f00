"""asyncio: the same verbs as coroutines, many in flight, cancelled, and a store that closes under them."""

from __future__ import annotations

import asyncio
import inspect

import pytest

import concord_kv
from concord_kv import (
    ABSENT,
    AlreadyExistsError,
    ClosedError,
    ConcordError,
    ConditionFailedError,
    InvalidKeyError,
    InvalidTtlError,
    LockedError,
    MissingConditionError,
    NotFoundError,
    aio,
)
from concord_kv.aio import AioDb


def story(coroutine):
    """Run a coroutine function as a test; it gets a fresh store when it asks for one."""

    def run():
        async def with_store():
            if inspect.signature(coroutine).parameters:
                async with aio.open() as db:
                    await asyncio.wait_for(coroutine(db), 60)
            else:
                await asyncio.wait_for(coroutine(), 60)

        asyncio.run(with_store())

    run.__name__ = coroutine.__name__
    run.__doc__ = coroutine.__doc__
    return run


@story
async def test_every_verb_is_a_coroutine(db):
    await db.put("a", {"x": 1})
    assert await db.get("a") == {"x": 1}
    assert await db.get("b", "default") == "default"
    await db.put_new("b", 1)
    with pytest.raises(AlreadyExistsError):
        await db.put_new("b", 1)
    assert await db.contains("b")
    await db.put_if("b", 2, expected=1)
    await db.put_if("new", 1, expected=ABSENT)
    with pytest.raises(ConditionFailedError):
        await db.put_if("b", 3, expected=1)
    with pytest.raises(MissingConditionError):
        await db.put_if("b", 3)
    await db.delete_if("new", revision=(await db.get_record("new")).revision)
    assert await db.increment("n", 5, initial=10) == 15
    await db.put_with_ttl("t", 1, 60)
    await db.touch("t", 30)
    assert 28 < await db.ttl("t") <= 30
    assert (await db.get_with_ttl("t"))[0] == 1
    await db.put_many({"m1": 1, "m2": 2})
    await db.put_many_with_ttl({"m3": 3}, 60)
    assert await db.get_many(["m1", "m2", "m3", "m4"]) == {"m1": 1, "m2": 2, "m3": 3}
    assert await db.touch_many({"m1": 60, "nobody": 60}) == {"m1": True, "nobody": False}
    await db.delete_many(["m1", "m2", "m3"])
    await db.delete("t")
    assert await db.get_all() == {"a": {"x": 1}, "b": 2, "n": 15}
    assert set(await db.get_all_with_ttl()) == {"a", "b", "n"}
    assert [key async for key in db.keys("a")] == ["a"]
    assert [pair async for pair in db.items(start="b")] == [("b", 2), ("n", 15)]
    assert (await db.status())["storage"]["size"] == 3
    assert len(await db.members()) == 1


def test_the_twin_has_every_verb_of_the_store():
    names = {name for name in dir(concord_kv.Db) if not name.startswith("_")} - {"records", "values"}
    assert names <= {name for name in dir(AioDb) if not name.startswith("_")} | {"closed"}


@story
async def test_errors_are_raised_where_they_are_awaited(db):
    with pytest.raises(InvalidKeyError):
        await db.put("", 1)
    with pytest.raises(InvalidTtlError):
        await db.put("a", 1, 0)
    with pytest.raises(InvalidTtlError):
        await db.put_with_ttl("a", 1, None)
    with pytest.raises(TypeError):
        await db.put("a")
    with pytest.raises(TypeError):
        await db.put(1, 1)
    with pytest.raises(NotFoundError):
        await db.touch("nobody", 60)
    with pytest.raises(NotFoundError):
        await db.ttl("nobody")
    with pytest.raises(ConcordError):
        await db.put("a", object())


@story
async def test_thousands_are_in_flight_at_once(db):
    await asyncio.gather(*(db.put(f"k{number}", number) for number in range(5000)))
    assert len([key async for key, _ in db.items()]) == 5000
    sums = await asyncio.gather(*(db.increment("n") for _ in range(5000)))
    assert sorted(sums) == list(range(1, 5001))


@story
async def test_a_condition_may_be_a_function_or_a_coroutine(db):
    await db.put("stock", 3)

    async def enough(count):
        await asyncio.sleep(0)
        return count > 2

    await db.put_if("stock", 2, condition=enough)
    with pytest.raises(ConditionFailedError):
        await db.put_if("stock", 1, condition=enough)
    await db.delete_if("stock", condition=lambda count: count == 2)

    await db.put("counter", 0)

    async def add():
        while True:
            value = await db.get("counter")
            try:
                return await db.put_if("counter", value + 1, expected=value)
            except ConditionFailedError:
                continue

    await asyncio.gather(*(add() for _ in range(50)))
    assert await db.get("counter") == 50


@story
async def test_a_cancelled_await_gives_up_the_answer_and_nothing_else(db):
    for _ in range(100):
        tasks = [asyncio.create_task(db.put(f"k{number}", number)) for number in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
        assert results[1::2] == [None] * 10
    await asyncio.sleep(0.05)
    assert db._queue.in_flight == 0
    assert await db.increment("still alive") == 1


@story
async def test_closing_answers_everybody():
    db = await aio.open()
    tasks = [asyncio.create_task(db.put(f"k{number}", number)) for number in range(500)]
    await asyncio.sleep(0)
    await db.close()
    await db.close()
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert all(result is None or isinstance(result, ConcordError) for result in results)
    assert db.closed
    with pytest.raises(ClosedError):
        await db.put("a", 1)
    with pytest.raises(ClosedError):
        await db.get("a")
    with pytest.raises(ClosedError):
        [key async for key, _ in db.items()]


def test_a_loop_that_ends_without_closing_is_no_trouble():
    async def main():
        db = await aio.open()
        task = asyncio.create_task(db.put("a", 1))
        await asyncio.sleep(0)
        assert not task.done() or True
        return db

    db = asyncio.run(main())
    assert not db._db.closed
    db._db.close()


def test_a_store_on_disk_is_opened_beside_the_loop(tmp_path):
    async def main():
        async with aio.open(tmp_path, durability="interval", interval_ms=10) as db:
            await db.put("a", 1)
            with pytest.raises(LockedError):
                await aio.open(tmp_path)
        db = await aio.open(tmp_path)
        assert await db.get("a") == 1
        await db.close()

    asyncio.run(main())


@story
async def test_long_walks_let_others_run(db):
    for start in range(0, 5000, 500):
        await db.put_many((f"k{number}", number) for number in range(start, start + 500))
    turns = 0

    async def ticker():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(ticker())
    assert len(await db.get_all()) == 5000
    task.cancel()
    assert turns >= 10
