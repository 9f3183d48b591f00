"""Drive: one cluster of an Elixir VM, a Python process and a C process; each in turn leads and is killed with -9.

Usage: drive.py WORK-DIR C-MEMBER PYTHON. The members obey lines: ready, leader, lead NODE, write PREFIX, check PREFIX,
count, dump. Each answers with a last line "ok NUMBER" or "error KIND MESSAGE". Stops at the first difference.
"""

from __future__ import annotations

import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "mixed"
NAMES = ("elixir", "python", "c")
COOKIE = "a long secret of the mixed cluster"
ZOO = 20
WAIT_S = 30
# What a caller answers with another try while a leader is being elected; writing the same again is harmless here.
PASSING = ("cluster_not_ready", "timeout", "unknown_outcome")


class Failure(Exception):
    """A member did not do what it should have."""


class Member:
    """One language's member, over as many lives of its process as it takes."""

    def __init__(self, name: str, command: list[str], directory: Path, environment: dict[str, str], log: Path) -> None:
        """Describe it; start() brings it to life."""
        self.name, self.command, self.directory = name, command, directory
        self.environment, self.log = {**os.environ, **environment}, log
        self.process: subprocess.Popen[str] | None = None
        self.node = 0

    def start(self) -> None:
        """Start the process; its own first line tells whom to kill."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
                start_new_session=True,
            )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self.listen, args=(self.process, self.lines), daemon=True).start()

    @staticmethod
    def listen(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
        """Hand on what a process says, and at last that it has ended."""
        for line in process.stdout:
            lines.put(line.rstrip("\n"))
        lines.put("error ended")

    def say(self, command: str) -> None:
        """Give a command without waiting for the answer."""
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failure(f"{self.name} has ended before: {command}") from None

    def answer(self) -> tuple[str, list[str]]:
        """Last line of an answer, and those before it."""
        before: list[str] = []
        while True:
            try:
                line = self.lines.get(timeout=WAIT_S)
            except queue.Empty:
                raise Failure(f"{self.name} gives no answer") from None
            if line.startswith(("ok ", "error ")):
                return line, before
            before.append(line)

    def number(self) -> int:
        """Number of an answer, which must be no error."""
        line, _ = self.answer()
        if not line.startswith("ok "):
            raise Failure(f"{self.name}: {line}")
        return int(line.split()[1])

    def ask(self, command: str, patient: bool = False) -> int:
        """Number that a command answers. The patient try again while the cluster has no leader."""
        end = time.monotonic() + WAIT_S
        while True:
            self.say(command)
            line, _ = self.answer()
            if line.startswith("ok "):
                return int(line.split()[1])
            if not patient or line.split()[1] not in PASSING or time.monotonic() > end:
                raise Failure(f"{self.name}: {command}: {line}")

    def dump(self) -> list[str]:
        """Each record that the member's own node holds."""
        self.say("dump")
        line, records = self.answer()
        if line != f"ok {len(records)}":
            raise Failure(f"{self.name}: dump: {line}")
        return records

    def kill(self) -> None:
        """Kill -9, with everything that it has started."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End the input, at which it closes its store."""
        self.process.stdin.close()
        if self.process.wait(WAIT_S) != 0:
            raise Failure(f"{self.name} ended with {self.process.returncode}")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, and that no connection is given while their member is down."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports


def members_of(work: Path, c_program: str, python: str) -> list[Member]:
    """Members of the three languages, none of them started."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(len(NAMES))]
    seeds = ",".join(addresses)
    elixir = {
        "CONCORD_DATA_DIR": str(work / "elixir"),
        "CONCORD_LISTEN": addresses[0],
        "CONCORD_SEEDS": seeds,
        "CONCORD_COOKIE": COOKIE,
        "CONCORD_NODE_NAME": "elixir",
        "CONCORD_BOOTSTRAP_EXPECT": "3",
    }
    mix = ["mix", "run", "--no-compile", str(HERE / "member.exs")]
    arguments = {
        name: [str(work / name), address, seeds, COOKIE] for name, address in zip(NAMES, addresses, strict=True)
    }
    return [
        Member("Elixir", mix, ROOT / "elixir", elixir, work / "elixir.log"),
        Member("Python", [python, str(HERE / "member.py"), *arguments["python"]], ROOT, {}, work / "python.log"),
        Member("C", [c_program, *arguments["c"]], ROOT, {}, work / "c.log"),
    ]


def each(members: list[Member], command: str) -> list[int]:
    """Let all do something at the same time."""
    for member in members:
        member.say(command)
    return [member.number() for member in members]


class Story:
    """What was checked so far."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.values = self.records = self.counted = 0

    def write(self, members: list[Member], prefix: str, patient: bool = False) -> None:
        """Let each write the zoo below keys of its own."""
        for member in members:
            if member.ask(f"write {prefix}:{member.name}:", patient) != ZOO:
                raise Failure(f"{member.name} has another zoo")
            self.records += ZOO

    def check(self, readers: list[Member], writers: list[Member], prefix: str) -> None:
        """Let each read back what each other wrote, and itself."""
        for writer in writers:
            self.values += sum(each(readers, f"check {prefix}:{writer.name}:"))

    def count(self, members: list[Member]) -> None:
        """Let each add one to the counter that all share; nobody's one gets lost."""
        for member in members:
            self.counted += 1
            if (found := member.ask("count")) != self.counted:
                raise Failure(f"{member.name} counted to {found}, not to {self.counted}")


def start(members: list[Member]) -> None:
    """Start members together and wait until they serve."""
    for member in members:
        member.start()
    pids = [member.number() for member in members]
    for member, pid in zip(members, pids, strict=True):
        # Killing a shell around the member would prove nothing.
        if os.getpgid(pid) != member.process.pid:
            raise Failure(f"{member.name} runs outside of its group of processes")
    for member, node in zip(members, each(members, "ready"), strict=True):
        if member.node not in (0, node):
            raise Failure(f"{member.name} came back as another node")
        member.node = node


def fell(story: Story, members: list[Member], leader: Member) -> str:
    """One member leads, is killed with -9 right behind an acknowledged write, and comes back."""
    prefix, others = f"led-by-{leader.name}", [member for member in members if member is not leader]
    leader.ask(f"lead {leader.node}", patient=True)
    if leader.ask("leader") != leader.node:
        raise Failure(f"{leader.name} was handed the leadership and does not lead")
    story.write(members, prefix)
    story.check(members, members, prefix)
    story.count(members)

    story.write([leader], "last")
    leader.kill()
    killed = time.monotonic()
    story.write(others[:1], "after-" + prefix, patient=True)
    hiccup_ms = (time.monotonic() - killed) * 1000
    story.write(others[1:], "after-" + prefix, patient=True)
    story.check(others, [leader], "last")
    story.check(others, others, "after-" + prefix)
    story.count(others)

    start([leader])
    story.check([leader], [leader], "last")
    story.check([leader], others, "after-" + prefix)
    return f"killed while leading; next write after {hiccup_ms:.0f} ms; back and caught up"


def row(what: str, result: str) -> None:
    """One line of the report."""
    print(f"  {what:<10} {result}", flush=True)


def main() -> int:
    """Run the story."""
    work, c_program, python = sys.argv[1:]
    members, story = members_of(Path(work), c_program, python), Story()
    begin = time.monotonic()
    try:
        start(members)
        row("all three", f"one cluster after {time.monotonic() - begin:.1f} s")
        for leader in members:
            row(leader.name, fell(story, members, leader))
        dumps = [member.dump() for member in members]
        if not dumps[0] == dumps[1] == dumps[2]:
            differing = set.union(*map(set, dumps)) - set.intersection(*map(set, dumps))
            raise Failure(f"the members differ: {sorted(line[:100] for line in differing)[:5]}")
        if len(dumps[0]) != story.records + 1:
            raise Failure(f"there are {len(dumps[0])} records, not {story.records + 1}")
        row("all three", f"{len(dumps[0])} records equal on every member, {story.values} values equal when read back")
        for member in members:
            member.stop()
    except Failure as failure:
        print(f"tests/mixed: FAILED: {failure}", file=sys.stderr)
        for member in members:
            said = member.log.read_text(errors="replace") if member.log.exists() else ""
            print(f"--- {member.name} said:\n{said[-2000:]}", file=sys.stderr)
        return 1
    finally:
        for member in members:
            if member.process is not None and member.process.poll() is None:
                member.kill()
    print(f"tests/mixed: 3 languages, 3 leaders killed: passed in {time.monotonic() - begin:.1f} s")
    return 0


sys.exit(main())
