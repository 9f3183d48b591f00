"""Cluster: members of the program on this machine, and requests to them beside the page."""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

READY_S = 60
COOKIE = "a long secret of the console's cluster"


class Member:
    """One process of the program, with HTTP on a port of its own."""

    def __init__(self, program: Path, log: Path, *options: str) -> None:
        """Start it and wait until it says where it serves."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CONCORD_")}
        kept = () if "--data-dir" in options else ("--durability", "memory")
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [program, "--json", "serve", "--api", "127.0.0.1:0", *kept, *options],
                env={**environment, "CONCORD_COOKIE": COOKIE},
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self.log = log
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.url: str = self.event("serving")["api"]

    def _listen(self) -> None:
        for line in self.process.stdout:
            self.events.put(json.loads(line))
        self.events.put({"event": "ended"})

    def event(self, name: str) -> dict[str, Any]:
        """Wait until the program says this."""
        end = time.monotonic() + READY_S
        while True:
            event = self.events.get(timeout=max(0.1, end - time.monotonic()))
            if event["event"] == name:
                return event
            if event["event"] == "ended":
                raise AssertionError(f"a member ended before it was {name}: {self.log.read_text()}")

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[bytes, str | None]:
        """Ask its API; give the body and the ETag. Bytes are sent as CBOR, all else as JSON. Waits for a leader."""
        sent, media = (
            (body, "application/cbor") if isinstance(body, bytes) else (json.dumps(body).encode(), "application/json")
        )
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            names["Content-Type"] = media
        end = time.monotonic() + READY_S
        while True:
            request = urllib.request.Request(self.url + path, None if body is None else sent, names, method=method)
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return answer.read(), answer.headers["ETag"]
            except urllib.error.HTTPError as error:
                if error.code not in {408, 503} or time.monotonic() > end:
                    raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from None
                time.sleep(0.05)

    def data(self, path: str) -> Any:
        """What is in the envelope of a good answer."""
        return json.loads(self.ask("GET", path)[0])["data"]

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()


def three(program: Path, work: Path) -> list[Member]:
    """Three members of one cluster, ready. The machine may be busy, so an election is not to come from that alone."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(3)]
    members = []
    for number, address in enumerate(addresses, start=1):
        options = ["--listen", address, "--name", f"member{number}", "--bootstrap-expect", "3"]
        options += ["--election-timeout-ms", "1000", "--data-dir", str(work / f"member{number}")]
        seeds = [option for seed in addresses for option in ("--seed", seed)]
        members.append(Member(program, work / f"member{number}.log", *options, *seeds))
    for member in members:
        member.event("ready")
    return members


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
