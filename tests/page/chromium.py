"""Debian's Chromium without a window, driven by its own protocol over two pipes (--remote-debugging-pipe)."""

import base64
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any  # the protocol's JSON; it does not leave this file

from tests.harness.waiting import eventually

_READ_FD, _WRITE_FD = 3, 4  # what Chromium reads commands from, and writes answers to
_OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage")
_KEYS: Mapping[str, Mapping[str, object]] = {
    "/": {"key": "/", "text": "/", "code": "Slash"},
    "Enter": {"key": "Enter", "text": "\r", "code": "Enter", "windowsVirtualKeyCode": 13},
    "Escape": {"key": "Escape", "code": "Escape", "windowsVirtualKeyCode": 27},
    "ArrowDown": {"key": "ArrowDown", "code": "ArrowDown", "windowsVirtualKeyCode": 40},
    "ArrowUp": {"key": "ArrowUp", "code": "ArrowUp", "windowsVirtualKeyCode": 38},
    "Tab": {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9},
}


class Tab:
    """One page. `problems` has what its console complained of, such as an exception or a refused script."""

    def __init__(self, commands: int, answers: int) -> None:
        self.problems: list[str] = []
        self._commands, self._answers = commands, answers
        self._buffer = b""
        self._count = 0
        self._session: str | None = None

    def open(self, url: str) -> None:
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page", "Network"):
            self._call(f"{domain}.enable")
        self.go(url)

    def go(self, url: str) -> None:
        self._call("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, as JSON has it."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, selector: str = "body") -> str:
        """Return the text that a person sees in an element."""
        shown: str = self.value(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")
        return shown

    def await_true(self, expression: str, what: str, deadline_s: float = 15.0) -> None:
        eventually(lambda: self.value(f"Boolean({expression})"), what, deadline_s)

    def press(self, *keys: str) -> None:
        for key in keys:
            event: Mapping[str, object] = _KEYS.get(key, {"key": key, "text": key})
            self._call("Input.dispatchKeyEvent", type="keyDown", **event)
            self._call("Input.dispatchKeyEvent", type="keyUp", **event)

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._call("Emulation.setDeviceMetricsOverride", **size)

    def prefer(self, scheme: str) -> None:
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def forbid_scripts(self) -> None:
        self._call("Emulation.setScriptExecutionDisabled", value=True)

    def picture(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def document(self) -> str:
        """Return the whole document as HTML; works without scripts."""
        root = self._call("DOM.getDocument", depth=-1)["root"]["nodeId"]
        html: str = self._call("DOM.getOuterHTML", nodeId=root)["outerHTML"]
        return html

    def _call(self, method: str, **params: object) -> dict[str, Any]:
        self._count += 1
        message: dict[str, object] = {"id": self._count, "method": method, "params": params}
        if self._session is not None and not method.startswith("Target."):
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = os.read(self._answers, 1 << 16)
            assert data, "Chromium ended"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _note(self, event: Mapping[str, Any]) -> None:
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.problems.append(str(event["params"]["exceptionDetails"]))
            case "Log.entryAdded" if event["params"]["entry"]["level"] == "error":
                entry = event["params"]["entry"]
                self.problems.append(f"{entry['text']} {entry.get('url', '')}")


@contextmanager
def browsing(profile: Path) -> Iterator[Tab]:
    """Start Chromium with a profile of its own; end it with the context."""
    commands_read, commands_write = os.pipe()
    answers_read, answers_write = os.pipe()
    shell = f'exec "$@" {_READ_FD}<&{commands_read} {_WRITE_FD}>&{answers_write}'
    argv = ["chromium", *_OPTIONS, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
    child = subprocess.Popen(
        ["bash", "-c", shell, "sh", *argv], pass_fds=(commands_read, answers_write), stderr=subprocess.DEVNULL
    )
    os.close(commands_read)
    os.close(answers_write)
    try:
        yield Tab(commands_write, answers_read)
    finally:
        os.close(commands_write)
        os.close(answers_read)
        child.kill()
        child.wait(10)
