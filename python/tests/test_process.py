"""Processes, threads and signals: forks, spawned workers, Ctrl-C, and how a program ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import concord_kv
from concord_kv import ClosedError, ConcordError

SLOW_DISK = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>
/* A disk that hangs as soon as the file named by HANG exists. */
static int hang(void) {
    while (access(getenv("HANG"), F_OK) == 0) usleep(10000);
    return 0;
}
int fdatasync(int fd) { (void)fd; return hang(); }
int fsync(int fd) { (void)fd; return hang(); }
"""

BROKEN_DISK = """
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
/* A disk that fails as soon as the file named by FAIL exists. */
int fdatasync(int fd) {
    (void)fd;
    if (access(getenv("FAIL"), F_OK) != 0) return 0;
    errno = EIO;
    return -1;
}
int fsync(int fd) { return fdatasync(fd); }
"""


def python(code, **environment):
    """Start a Python program."""
    return subprocess.Popen(
        [sys.executable, "-u", "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def finish(program, seconds=30):
    """Wait for a program; its exit code, output and errors."""
    try:
        output, errors = program.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        program.kill()
        raise
    return program.returncode, output, errors


def in_child(check):
    """Run a function in a forked child; True when it returned True in time."""
    child = os.fork()
    if child == 0:
        try:
            ok = check()
        except BaseException:
            ok = False
        os._exit(0 if ok else 1)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_gets_an_error_at_once_and_the_parent_goes_on(tmp_path):
    with concord_kv.open(tmp_path) as db:
        db.put("a", 1)
        walk = db.keys()

        def refused():
            calls = [
                lambda: db.get("a"),
                lambda: db.put("a", 2),
                lambda: db["a"],
                lambda: "a" in db,
                lambda: len(db),
                lambda: db.put_many({"a": 1}),
                lambda: list(walk),
                lambda: list(db.items()),
                lambda: db.status(),
            ]
            for call in calls:
                try:
                    call()
                except ClosedError as error:
                    if "fork" not in str(error):
                        return False
                else:
                    return False
            db.close()  # closing what the parent owns does nothing
            return db.closed

        assert in_child(refused)
        assert db.get("a") == 1
        db.put("a", 3)
        assert list(walk) == ["a"]
        assert in_child(refused)
    with concord_kv.open(tmp_path) as db:
        assert db["a"] == 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_can_open_a_store_of_its_own(tmp_path):
    with concord_kv.open(tmp_path / "parent") as parent:
        parent.put("a", 1)

        def own_store():
            with concord_kv.open(tmp_path / "child") as mine:
                mine.put("a", 2)
                return mine["a"] == 2

        assert in_child(own_store)
        assert parent["a"] == 1


def worker(path, number):
    """Write in a spawned process (module level, because spawn imports it)."""
    with concord_kv.open(path) as db:
        return db.increment("n", number)


def test_spawned_processes_open_stores_of_their_own(tmp_path):
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        answers = pool.starmap(worker, [(str(tmp_path / name), number) for name, number in (("a", 1), ("b", 2))])
    assert answers == [1, 2]


def test_threads_share_a_store(db):
    failures = []

    def work(number):
        try:
            for step in range(200):
                db.put(f"{number}:{step}", step)
                assert db.get(f"{number}:{step}") == step
                db.increment("sum")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert db["sum"] == 1600
    assert len(db) == 1601


def test_closing_while_other_threads_use_the_store_gives_them_errors():
    for _ in range(10):
        db = concord_kv.open()
        failures = []

        def work(db=db, failures=failures):
            try:
                while True:
                    db.put("a", 1)
                    db.get("a")
                    list(db.items())
            except ConcordError:
                return
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.01)
        db.close()
        for thread in threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in threads)
        assert not failures


def preloaded(directory, source):
    """Compile a library to preload."""
    (directory / "disk.c").write_text(source)
    library = directory / "disk.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, directory / "disk.c"], check=True)
    return library


@pytest.fixture(scope="module")
def slow_disk(tmp_path_factory):
    """A disk whose fdatasync hangs while a file exists."""
    return preloaded(tmp_path_factory.mktemp("slow_disk"), SLOW_DISK)


def test_when_the_disk_fails_writes_are_errors_and_local_reads_go_on(tmp_path):
    program = python(
        """
        import concord_kv, os
        db = concord_kv.open(os.environ["DIRECTORY"])
        db.put("kept", 1)
        open(os.environ["FAIL"], "w").close()
        for _ in range(3):
            try:
                db.put("lost", 2, timeout=2)
                print("acknowledged")
            except concord_kv.ConcordError as error:
                print(error.kind)
        print(db.get("kept", consistency="eventual"), "failure:", bool(db.status()["storage"]["failure"]))
        """,
        LD_PRELOAD=str(preloaded(tmp_path, BROKEN_DISK)),
        FAIL=str(tmp_path / "fail"),
        DIRECTORY=str(tmp_path / "data"),
    )
    code, output, errors = finish(program)
    assert code == 0, errors
    assert "acknowledged" not in output
    assert output.endswith("1 failure: True\n")
    with concord_kv.open(tmp_path / "data") as db:
        assert db["kept"] == 1


BLOCKED = """
    import concord_kv, os, signal, sys, time
    # A test run in the background inherits SIGINT as ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    db = concord_kv.open(sys.argv[1] if len(sys.argv) > 1 else os.environ["DIRECTORY"])
    db.put("before", 1)
    open(os.environ["HANG"], "w").close()
    print("blocking", flush=True)
    start = time.monotonic()
    try:
        {call}
        print("returned", flush=True)
    except BaseException as error:
        print(type(error).__name__, round(time.monotonic() - start, 3), db.get("before"), flush=True)
    os._exit(0)
"""


def blocked(slow_disk, tmp_path, call):
    """Start a program whose call waits for a disk that hangs."""
    program = python(
        BLOCKED.format(call=call),
        LD_PRELOAD=str(slow_disk),
        HANG=str(tmp_path / "hang"),
        DIRECTORY=str(tmp_path / "data"),
    )
    assert program.stdout.readline() == "blocking\n", program.stderr.read()
    return program


@pytest.mark.parametrize(
    "call", ["db.put('a', 1)", "db.put_many({'a': 1})", "db.increment('n')", "db.delete('a')", "db['a'] = 1"]
)
def test_ctrl_c_ends_a_blocked_call_within_a_second(slow_disk, tmp_path, call):
    program = blocked(slow_disk, tmp_path, call)
    time.sleep(0.3)
    sent = time.monotonic()
    program.send_signal(signal.SIGINT)
    line = program.stdout.readline()
    took = time.monotonic() - sent
    finish(program)
    assert line.startswith("KeyboardInterrupt"), line
    assert line.endswith(" 1\n")  # and the store still reads
    assert took < 1


def test_a_call_that_gets_no_answer_in_time_has_an_unknown_outcome(slow_disk, tmp_path):
    code, output, errors = finish(blocked(slow_disk, tmp_path, "db.put('a', 1, timeout=0.3)"))
    assert code == 0, errors
    name, seconds, _ = output.split()
    assert name == "UnknownOutcomeError"
    assert 0.2 < float(seconds) < 2


def test_an_await_that_gets_no_answer_in_time_has_an_unknown_outcome(slow_disk, tmp_path):
    call = """
        db.close()
        import asyncio
        from concord_kv import UnknownOutcomeError, aio
        async def main():
            db = await aio.open(os.environ["DIRECTORY"])
            open(os.environ["HANG"], "w").close()
            calls = [db.put("a", 1, timeout=0.3), db.increment("n", timeout=0.2), db.delete("a", timeout=0.3)]
            for call in calls:
                try:
                    await call
                except UnknownOutcomeError:
                    print("unknown", flush=True)
            task = asyncio.create_task(db.put("b", 1))
            await asyncio.sleep(0.05)
            task.cancel()
            try:
                await asyncio.wait_for(task, 1)
            except asyncio.CancelledError:
                print("cancelled", flush=True)
            os.unlink(os.environ["HANG"])
            await asyncio.sleep(0.3)
            print(db._queue.in_flight, await db.get("b"), flush=True)
            await db.close()
        asyncio.run(main())
    """
    code = textwrap.indent(textwrap.dedent(call), "        ").strip()
    program = python(
        BLOCKED.format(call=code),
        LD_PRELOAD=str(slow_disk),
        HANG=str(tmp_path / "hang"),
        DIRECTORY=str(tmp_path / "data"),
    )
    # The store that BLOCKED opened first is closed while the disk hangs: let go of it for that moment.
    assert program.stdout.readline() == "blocking\n"
    (tmp_path / "hang").unlink(missing_ok=True)
    _, output, errors = finish(program)
    assert output.split("\n")[:5] == ["unknown"] * 3 + ["cancelled", "0 1"], (output, errors)


def test_other_threads_run_while_one_waits(slow_disk, tmp_path):
    call = """
        import threading
        waiting = threading.Thread(target=lambda: db.put("a", 1, timeout=5), daemon=True)
        waiting.start()
        count, end = 0, time.monotonic() + 0.5
        while time.monotonic() < end:
            db.get("before"); count += 1
        assert waiting.is_alive() and count > 1000, count
    """
    code = textwrap.indent(textwrap.dedent(call), "        ").strip()
    _, output, errors = finish(blocked(slow_disk, tmp_path, code))
    assert output == "returned\n", (output, errors)


@pytest.mark.parametrize(
    "ending",
    [
        "pass",
        "sys.exit(0)",
        "del db",
        "db.close()",
        "threading.Thread(target=lambda: [db.put('a', n) for n in range(10**9)], daemon=True).start(); time.sleep(0.1)",
        "walk = db.keys(); next(walk)",
        "import asyncio; from concord_kv import aio; asyncio.run(aio.open()._open())",
    ],
)
def test_a_program_that_ends_with_an_open_store_ends_cleanly(tmp_path, ending):
    program = python(
        f"""
        import concord_kv, os, sys, threading, time
        db = concord_kv.open(os.environ["DIRECTORY"])
        db.put("kept", 1)
        {ending}
        """,
        DIRECTORY=str(tmp_path),
    )
    code, output, errors = finish(program)
    assert (code, output) == (0, ""), errors
    assert "Traceback" not in errors or "daemon" in ending
    with concord_kv.open(tmp_path) as db:
        assert db["kept"] == 1


def test_what_was_acknowledged_survives_kill_9(tmp_path):
    program = python(
        """
        import concord_kv, os
        db = concord_kv.open(os.environ["DIRECTORY"])
        number = 0
        while True:
            number += 1
            db.put(f"k{number}", number)
            print(number, flush=True)
        """,
        DIRECTORY=str(tmp_path),
    )
    last = 0
    end = time.monotonic() + 1
    while time.monotonic() < end:
        last = int(program.stdout.readline())
    program.kill()
    rest = program.stdout.read().split("\n")
    program.wait()
    last = max([last, *(int(line) for line in rest[:-1] if line)])
    with concord_kv.open(tmp_path) as db:
        assert db.get_many([f"k{last}", "k1"]) == {f"k{last}": last, "k1": 1}
        assert last <= len(db) <= last + 1
