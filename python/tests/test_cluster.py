"""Clusters: options and their misuse, a cluster of one, three members in one process, and clients of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import concord_kv
from concord_kv import (
    ClosedError,
    Cluster,
    ClusterNotReadyError,
    ConcordError,
    InvalidConfigError,
    NotFoundError,
    TimedOutError,
    Tls,
    UnauthorizedError,
    UnknownOutcomeError,
    aio,
)

COOKIE = "a long secret of these tests"
WAIT_S = 30
ALONE = {"listen": "127.0.0.1:0", "bootstrap_expect": 1, "cookie": COOKIE}


# ---- options ----


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"cookie": None}, "CONCORD_COOKIE"),
        ({"cookie": ""}, "CONCORD_COOKIE"),
        ({"cookie": "a\0b"}, "NUL"),
        ({"listen": "nowhere"}, "listen"),
        ({"listen": "host:99999"}, "listen"),
        ({"listen": "\ud800:1"}, "UTF-8"),
        ({"advertise": ":7400"}, "advertise"),
        ({"name": "n" * 256}, "name"),
        ({"seeds": ["127.0.0.1:7400", "nowhere"]}, "seeds"),
        ({"seeds": "nowhere"}, "seeds"),
        ({"bootstrap_expect": 10}, "bootstrap_expect"),
        ({"bootstrap_expect": -1}, "bootstrap_expect"),
        ({"bootstrap_expect": 3}, "seeds"),
        ({"multicast": "239.1.2.3"}, "group:port"),
        ({"multicast": "10.0.0.1:7000"}, "multicast_group"),
        ({"multicast": "239.1.2.3:99999"}, "group:port"),
        ({"election_timeout_ms": 99}, "election_timeout_ms"),
        ({"tls": Tls("", "key.pem", "authority.pem")}, "PEM"),
    ],
)
def test_wrong_options_are_named(wrong, words):
    with pytest.raises(InvalidConfigError, match=words):
        concord_kv.open(**{**ALONE, **wrong})


@pytest.mark.parametrize(
    "wrong",
    [
        {"cookie": b"bytes"},
        {"listen": 7400},
        {"seeds": b"127.0.0.1:7400"},
        {"seeds": [7400]},
        {"bootstrap_expect": "3"},
        {"bootstrap_expect": True},
        {"multicast": 1},
        {"promote": 1},
        {"tls": ("a", "b", "c")},
        {"election_timeout_ms": 0.2},
    ],
)
def test_options_of_wrong_types_are_type_errors(wrong):
    with pytest.raises(TypeError):
        concord_kv.open(**{**ALONE, **wrong})


def test_an_option_of_a_cluster_makes_a_member_and_a_member_needs_a_cookie():
    with pytest.raises(InvalidConfigError, match="CONCORD_COOKIE"):
        concord_kv.open(listen="127.0.0.1:0")


@pytest.mark.parametrize(
    ("addresses", "options", "words"),
    [
        ("127.0.0.1:1", {}, "cookie"),
        ("", {"cookie": COOKIE}, "host:port"),
        ([], {"cookie": COOKIE}, "host:port"),
        ("127.0.0.1", {"cookie": COOKIE}, "host:port"),
        (["127.0.0.1:1", "nowhere"], {"cookie": COOKIE}, "host:port"),
        ("127.0.0.1:1", {"token": "t", "cookie": COOKIE}, "not both"),
        (None, {"cookie": COOKIE}, "data_dir"),
        ("127.0.0.1:1", {"cookie": COOKIE, "timeout": 0}, "timeout"),
        ("127.0.0.1:1", {"cookie": COOKIE, "timeout": 601}, "timeout"),
        ("127.0.0.1:1", {"cookie": COOKIE, "default_consistency": "weak"}, "default_consistency"),
    ],
)
def test_a_client_needs_addresses_and_a_secret(addresses, options, words):
    with pytest.raises(InvalidConfigError, match=words):
        concord_kv.connect(addresses, **options)

    async def twin():
        await aio.connect(addresses, **options)

    with pytest.raises(InvalidConfigError, match=words):
        asyncio.run(twin())


def test_a_client_of_wrong_types_is_a_type_error():
    for addresses, options in ((None, {}), (7400, {}), (b"127.0.0.1:1", {}), ("127.0.0.1:1", {"tls": "file"})):
        with pytest.raises((TypeError, InvalidConfigError)):
            concord_kv.connect(addresses, cookie=COOKIE, **options)
    with pytest.raises(TypeError):
        concord_kv.connect("127.0.0.1:1", cookie=COOKIE, timeout="soon")


def test_nobody_answering_is_an_error_in_time():
    start = time.monotonic()
    with pytest.raises((TimedOutError, ClusterNotReadyError)):
        concord_kv.connect("127.0.0.1:1", cookie=COOKIE, timeout=0.3)
    assert time.monotonic() - start < 5


# ---- one node ----


def test_a_store_of_one_node_is_ready(db):
    assert db.cluster.ready
    db.cluster.wait_ready(1)
    db.cluster.wait_ready()
    (member,) = db.cluster.members()
    assert set(member) == {"node", "address", "name", "role", "leader", "matched_index", "lag", "last_contact_ms"}
    cluster = db.status()["cluster"]
    assert cluster["ready"] is True
    assert cluster["snapshot_state"] == "idle"
    assert all(db._reads_at_once(level) for level in (None, "eventual", "leader", "strong"))
    with pytest.raises(ConcordError):
        db.cluster.promote(member["node"] + 2, timeout=1)
    for wrong in (0, -1, "soon"):
        with pytest.raises((TypeError, InvalidConfigError)):
            db.cluster.wait_ready(wrong)


def test_the_verbs_of_a_closed_store_are_errors(db):
    cluster = db.cluster
    db.close()
    calls = [
        lambda: cluster.ready,
        lambda: cluster.wait_ready(1),
        cluster.members,
        lambda: cluster.add("127.0.0.1:1"),
        lambda: cluster.promote(1),
        lambda: cluster.remove(1),
        lambda: cluster.replace(1, 2),
        cluster.transfer_leadership,
        cluster.leave,
        lambda: db._reads_at_once(None),
    ]
    for call in calls:
        with pytest.raises(ClosedError):
            call()


def test_a_member_may_be_named():
    class Three:
        def members(self):
            rows = [(1, "a", "h:1"), (2, "b", "h:2"), (3, "b", "h:3")]
            return [{"node": node, "name": name, "address": address} for node, name, address in rows]

    cluster = Cluster(Three())
    assert [cluster._node_id(node) for node in (7, "a", "h:3")] == [7, 1, 3]
    with pytest.raises(InvalidConfigError, match="2 members"):
        cluster._node_id("b")
    for missing in ("c", "", -1, 2**64):
        with pytest.raises(NotFoundError):
            cluster._node_id(missing)
    for wrong in (None, True, 1.0, b"a"):
        with pytest.raises(TypeError):
            cluster._node_id(wrong)


def test_reads_that_must_wait_come_through_the_queue(monkeypatch):
    """The loop's thread never blocks in a read: every verb answers the same when reads have to ask other nodes."""

    async def main():
        async with aio.open() as db:
            await db.put_many({f"k{number}": number for number in range(400)})
            await db.put("short", {"x": 1}, ttl=60)
            monkeypatch.setattr(db._db, "_reads_at_once", lambda level: False)
            assert await db.get("k7") == 7
            assert await db.get("short") == {"x": 1}
            assert await db.get("nobody", "default") == "default"
            assert (await db.get_record("k7", consistency="strong", timeout=5)).value == 7
            assert 50 < await db.ttl("short") <= 60
            assert (await db.get_with_ttl("short"))[0] == {"x": 1}
            assert await db.contains("k1")
            assert not await db.contains("nobody")
            with pytest.raises(NotFoundError):
                await db.get_record("nobody")
            assert await db.get_many(["k1", "nobody", "k2"]) == {"k1": 1, "k2": 2}
            assert len([key async for key in db.keys("k")]) == 400
            assert [item async for item in db.items(start="short")] == [("short", {"x": 1})]
            assert len(await db.get_all()) == len(await db.get_all_with_ttl()) == 401
            answers = await asyncio.gather(*(db.get(f"k{number % 400}") for number in range(2000)))
            assert answers == [number % 400 for number in range(2000)]
            with pytest.raises(TypeError):
                await db.get(1)
            with pytest.raises(InvalidConfigError):
                await db.get("k1", consistency="weak")
            await db.cluster.wait_ready(1)
            assert db.cluster.ready
            assert len(await db.cluster.members()) == 1
        with pytest.raises(ClosedError):
            await db.get("k1")

    asyncio.run(main())


def test_the_twin_of_the_cluster_has_its_verbs():
    names = {name for name in dir(Cluster) if not name.startswith("_")}
    assert names == {name for name in dir(aio.AioCluster) if not name.startswith("_")}


def interrupted(call, setup="pass", **environment):
    """Seconds until Ctrl-C ended a call in a program of its own; the call must say what it ended with."""
    code = """
        import concord_kv, signal, sys, time
        from concord_kv.cluster import interruptible
        signal.signal(signal.SIGINT, signal.default_int_handler)
        {setup}
        print("blocking", flush=True)
        try:
            {call}
            print("returned", flush=True)
        except BaseException as error:
            print(type(error).__name__, flush=True)
    """
    program = subprocess.Popen(
        [sys.executable, "-u", "-c", textwrap.dedent(code).format(call=call, setup=setup)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert program.stdout.readline() == "blocking\n"
    time.sleep(0.3)  # until the call blocks: nothing tells
    sent = time.monotonic()
    program.send_signal(signal.SIGINT)
    line = program.stdout.readline()
    took = time.monotonic() - sent
    try:
        program.wait(20)
    finally:
        program.kill()
    assert line == "KeyboardInterrupt\n", line
    return took


def test_ctrl_c_ends_the_wait_for_a_change_at_once():
    assert interrupted("interruptible(lambda: time.sleep(8))") < 1


def test_what_an_interrupted_call_brings_is_given_back():
    code = """
        import os, signal, threading, time
        from concord_kv.cluster import interruptible
        signal.signal(signal.SIGINT, signal.default_int_handler)
        given_back = threading.Event()
        def slow():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
            return "result"
        try:
            interruptible(slow, lambda result: given_back.set() if result == "result" else None)
        except KeyboardInterrupt:
            print("interrupted", given_back.wait(10))
    """
    program = [sys.executable, "-c", textwrap.dedent(code)]
    assert (
        subprocess.run(program, check=True, capture_output=True, text=True, timeout=30).stdout == "interrupted True\n"
    )


def test_one_node_is_a_cluster():
    with concord_kv.open(**ALONE, name="only") as db:
        db.cluster.wait_ready(WAIT_S)
        (member,) = db.cluster.members()
        assert (member["name"], member["role"], member["leader"]) == ("only", "voter", True)
        assert db.status()["cluster"]["leader"] == db.status()["node"] == member["node"]
        with pytest.raises(NotFoundError):
            db.cluster.promote(member["node"] + 2, timeout=1)
        with pytest.raises(InvalidConfigError):
            db.cluster.remove("only", timeout=1)
        db["a"] = 1
        with pytest.raises(UnauthorizedError):
            concord_kv.connect(member["address"], cookie=COOKIE + " not")
        with concord_kv.connect([member["address"]], cookie=COOKIE, timeout=WAIT_S) as client:
            assert client.cluster.ready
            assert client["a"] == 1
            client["b"] = {"from": "client"}
            assert db["b"] == {"from": "client"}
            assert list(client.keys()) == ["a", "b"]
            assert len(client) == 2
            assert client.get_many(["a", "b", "c"]) == {"a": 1, "b": {"from": "client"}}
            assert client.members()[0]["name"] == "only"
        with pytest.raises(ClosedError):
            client.get("a")


@pytest.mark.parametrize("call", ["db.cluster.wait_ready(20)", "db.put('a', 1, timeout=20)", "db.get('a', timeout=20)"])
def test_ctrl_c_ends_the_wait_of_a_node_that_finds_nobody(call):
    setup = f'db = concord_kv.open(listen="127.0.0.1:0", seeds=["127.0.0.1:1"], cookie="{COOKIE}")'
    try:
        assert interrupted(call, setup) < 1
    except AssertionError as error:
        # A verb that is refused at once does not block, which is as well.
        if "ClusterNotReadyError" not in str(error) or "wait_ready" in call:
            raise


def test_ctrl_c_ends_the_wait_for_a_member_that_never_answers():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert interrupted(f'concord_kv.connect("{address}", cookie="{COOKIE}", timeout=20)') < 1


def test_a_node_that_finds_nobody_says_what_is_missing():
    with concord_kv.open(listen="127.0.0.1:0", seeds=["127.0.0.1:1"], cookie=COOKIE) as db:
        assert not db.cluster.ready
        with pytest.raises(TimedOutError) as raised:
            db.cluster.wait_ready(0.3)
        assert len(str(raised.value)) > len("timeout: ")
        assert db.status()["cluster"]["state"] == "joining"
        assert db.status()["cluster"]["ready"] is False


# ---- three members ----


def free_addresses(count):
    """Addresses whose ports nobody has now."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]


@pytest.fixture
def three(tmp_path):
    """Three members in this process, ready; closed at the end."""
    addresses = free_addresses(3)
    with contextlib.ExitStack() as stack:
        nodes = [
            stack.enter_context(
                concord_kv.open(
                    tmp_path / f"node{number}",
                    listen=address,
                    name=f"node{number}",
                    seeds=addresses,
                    bootstrap_expect=3,
                    cookie=COOKIE,
                )
            )
            for number, address in enumerate(addresses)
        ]
        for node in nodes:
            node.cluster.wait_ready(WAIT_S)
        yield addresses, nodes


def leader_of(nodes):
    """The leader among these and the others."""
    leader = nodes[0].status()["cluster"]["leader"]
    (leading,) = [node for node in nodes if node.status()["node"] == leader]
    return leading, [node for node in nodes if node is not leading]


def until_done(call):
    """Repeat what a fail-over refuses for a moment."""
    end = time.monotonic() + WAIT_S
    while True:
        try:
            return call()
        except (ClusterNotReadyError, TimedOutError, UnknownOutcomeError):
            if time.monotonic() > end:
                raise


def test_any_member_takes_any_request(three):
    _, nodes = three
    for number, writer in enumerate(nodes, 1):
        assert writer.increment("n") == number
        writer[f"from {number}"] = {"by": number}
        for reader in nodes:
            assert reader.get("n", consistency="strong") == number
            assert reader.get("n") == number
            assert reader.get("nobody", consistency="strong") is None
            assert len(list(reader.items(consistency="strong"))) == number + 1
            assert reader.get_many(["n", "nobody"], consistency="strong") == {"n": number}
    assert sorted(node._reads_at_once("leader") for node in nodes) == [False, False, True]
    members = nodes[0].cluster.members()
    assert sorted(member["name"] for member in members) == ["node0", "node1", "node2"]
    assert [member["role"] for member in members] == ["voter"] * 3


def test_leadership_is_handed_over_by_name_and_a_stopped_leader_is_replaced_by_election(three):
    addresses, nodes = three
    old, others = leader_of(nodes)
    old.cluster.transfer_leadership("node" + str(nodes.index(others[0])), timeout=WAIT_S)
    leading, _ = leader_of(others)
    assert leading is others[0]
    with concord_kv.connect(addresses, cookie=COOKIE, timeout=WAIT_S) as client:
        client["before"] = 1
        gone = nodes.index(leading)
        leading.close()
        until_done(lambda: client.put("after", 2))
        assert client.get_many(["before", "after"], consistency="strong") == {"before": 1, "after": 2}
        until_done(lambda: client.cluster.remove(f"node{gone}", timeout=WAIT_S))
        assert len(client.cluster.members()) == 2
        with pytest.raises(NotFoundError):
            client.cluster.remove(f"node{gone}")


def test_readers_wait_without_the_gil(three):
    _, nodes = three
    _, followers = leader_of(nodes)
    nodes[0]["a"] = 1
    counts, stop = [0] * 4, threading.Event()

    def read(number):
        while not stop.is_set():
            assert followers[number % 2]["a"] == 1
            counts[number] += 1

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    turns, end = 0, time.monotonic() + 1
    while time.monotonic() < end:
        time.sleep(0)
        turns += 1
    stop.set()
    for thread in threads:
        thread.join(10)
    assert min(counts) > 10
    assert turns > 100


def test_a_loop_goes_on_while_its_reads_ask_the_leader(three):
    addresses, nodes = three
    nodes[0].put_many({f"k{number}": number for number in range(200)})

    async def main():
        async with aio.connect(addresses, cookie=COOKIE, timeout=WAIT_S) as db:
            longest, last = 0.0, time.monotonic()

            async def ticker():
                nonlocal longest, last
                while True:
                    now = time.monotonic()
                    longest, last = max(longest, now - last), now
                    await asyncio.sleep(0)

            task = asyncio.create_task(ticker())
            answers = await asyncio.gather(*(db.get(f"k{number}") for number in range(200)))
            assert answers == list(range(200))
            assert len([key async for key in db.keys("k")]) == 200
            await db.increment("n")
            assert await db.get("n") == 1
            assert len(await db.cluster.members()) == 3
            task.cancel()
            assert longest < 0.5

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_may_not_use_its_parents_client(three):
    """Promise: a pre-forking server that connected too early gets an error at once; it connects after the fork."""
    addresses, _ = three
    with concord_kv.connect(addresses, cookie=COOKIE, timeout=WAIT_S) as client:
        client["a"] = 1
        child = os.fork()
        if child == 0:
            right = False
            try:
                client.get("a")
            except ClosedError as error:
                with concord_kv.connect(addresses, cookie=COOKIE, timeout=WAIT_S) as own:
                    right = "fork" in str(error) and own["a"] == 1
            finally:
                os._exit(0 if right else 1)
        _, how = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(how) == 0
        assert client["a"] == 1
