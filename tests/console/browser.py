"""Browser: drives a headless Chromium by its DevTools protocol over a pipe; nothing but the standard library."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from queue import Empty, Queue
from typing import Any

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
ANSWER_S = 30
WAIT_S = 20


class BrowserError(AssertionError):
    """The page is not as the test wants it, or the browser refused a command."""


class Browser:
    """One page in a browser of its own. What the page complains of gathers in `complaints`."""

    def __init__(self, program: str) -> None:
        """Start `program` with a fresh profile."""
        self.profile = tempfile.mkdtemp(prefix="concord-console-")
        commands, self._send = os.pipe()
        self._receive, events = os.pipe()
        # Chromium reads commands from descriptor 3 and writes to 4; the shell puts them there.
        plumbing = f'exec "$0" "$@" 3<&{commands} 4>&{events}'
        self.process = subprocess.Popen(
            ["bash", "-c", plumbing, program, *FLAGS, f"--user-data-dir={self.profile}", "about:blank"],
            pass_fds=(commands, events),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(events)
        self.complaints: list[str] = []
        self._answers: Queue[dict[str, Any]] = Queue()
        self._number = 0
        self._session: str | None = None
        threading.Thread(target=self._listen, daemon=True).start()
        self._attach()

    def __enter__(self) -> Browser:
        """Give the browser itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the browser and remove its profile."""
        os.close(self._send)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    def _attach(self) -> None:
        targets = self.command("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self.command("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Audits"):
            self.command(f"{domain}.enable")

    def _listen(self) -> None:
        rest = b""
        while piece := os.read(self._receive, 1 << 16):
            *messages, rest = (rest + piece).split(b"\0")
            for message in messages:
                self._take(json.loads(message))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answers.put(message)
            return
        told = message.get("params", {})
        match message["method"]:
            case "Runtime.exceptionThrown":
                details = told["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description") or details["text"])
            case "Runtime.consoleAPICalled" if told["type"] in {"error", "warning", "assert"}:
                self.complaints.append(" ".join(str(each.get("value")) for each in told["args"]))
            case "Log.entryAdded" if told["entry"]["level"] in {"error", "warning"}:
                self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
            case "Audits.issueAdded" if told["issue"]["code"] == "ContentSecurityPolicyIssue":
                self.complaints.append(json.dumps(told["issue"]))
            case "Page.javascriptDialogOpening":
                self.complaints.append(f"a dialog was opened: {told['message']}")

    def command(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a command and give what it answers."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            try:
                answer = self._answers.get(timeout=ANSWER_S)
            except Empty:
                raise BrowserError(f"the browser did not answer {method}") from None
            if answer["id"] == self._number:
                break
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def evaluate(self, expression: str) -> Any:
        """Give what a JavaScript expression is, in the page."""
        answer = self.command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{expression}: {answer['exceptionDetails']['exception'].get('description')}")
        return answer["result"].get("value")

    def open(self, url: str) -> None:
        """Go to an address."""
        answer = self.command("Page.navigate", url=url)
        if error := answer.get("errorText"):
            raise BrowserError(f"{url}: {error}")

    def wait(self, expression: str, what: str, seconds: float = WAIT_S) -> None:
        """Wait until an expression is true; `what` says it for people."""
        end = time.monotonic() + seconds
        while True:
            try:
                if self.evaluate(f"Boolean({expression})"):
                    return
            except BrowserError as error:
                # The page is being replaced by another.
                if "context" not in str(error):
                    raise
            if time.monotonic() > end:
                seen = self.evaluate("document.querySelector('main').innerText")
                raise BrowserError(f"waited for: {what}\n--- the page says:\n{seen}\n--- complaints: {self.complaints}")
            time.sleep(0.05)

    def click(self, selector: str, text: str = "") -> None:
        """Click, with the mouse, the visible element of this selector that begins with this text."""
        find = f"""[...document.querySelectorAll({json.dumps(selector)})].find((each) =>
            each.checkVisibility() && !each.disabled && each.textContent.trim().startsWith({json.dumps(text)}))"""
        self.wait(find, f"{selector} saying {text!r}")
        box = self.evaluate(f"""(() => {{ const found = {find};
            found.scrollIntoView({{block: "center", behavior: "instant"}});
            const box = found.getBoundingClientRect();
            return [box.x + Math.min(box.width / 2, 60), box.y + box.height / 2]; }})()""")
        for kind in ("mousePressed", "mouseReleased"):
            self.command("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def type(self, selector: str, text: str) -> None:
        """Replace what stands in a field by this text, as if it were typed."""
        field = f"document.querySelector({json.dumps(selector)})"
        self.wait(field, selector)
        self.evaluate(f"{field}.focus(), {field}.select()")
        self.command("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press a key that has a name, such as `Tab`."""
        codes = {"Tab": 9, "Enter": 13, "ArrowDown": 40, "ArrowRight": 39, "ArrowLeft": 37, "Escape": 27}
        parts = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self.command("Input.dispatchKeyEvent", type="keyDown", **parts, **text)
        self.command("Input.dispatchKeyEvent", type="keyUp", **parts)

    def look(self, width: int, height: int, scheme: str) -> None:
        """Make the window this large, and the person's liking `light` or `dark`."""
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path) -> None:
        """Write what is seen as PNG."""
        path.write_bytes(base64.b64decode(self.command("Page.captureScreenshot", format="png")["data"]))
