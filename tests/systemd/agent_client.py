"""The client of the machine's agent (image/agent.py): sends a command, returns its output, with a deadline."""

import base64
import json
import shlex
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.harness.waiting import CommandFailed

RETRY_S = 0.5
HELLO_S = 5.0
GRACE_S = 20.0  # for the answer, in addition to the command's own time


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class AgentClient:
    """Connects, and waits until the machine answers, for at most `boot_s`."""

    def __init__(self, path: Path, boot_s: float) -> None:
        self._path, self._socket, self._rest, self._asked = path, socket.socket(socket.AF_UNIX), b"", 0
        until = time.monotonic() + boot_s
        try:
            self._connect(until)
            self._await_answer(until)
        except BaseException:
            self.close()
            raise

    def _connect(self, until: float) -> None:
        while True:
            try:
                return self._socket.connect(str(self._path))
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(RETRY_S)

    def _await_answer(self, until: float) -> None:
        """Wait for the agent. What is sent before it listens waits in the port, and may be lost there."""
        while True:
            try:
                self._ask(["true"], "", 1.0, min(until, time.monotonic() + HELLO_S))
                return
            except TimeoutError:
                if time.monotonic() > until:
                    raise

    def close(self) -> None:
        self._socket.close()

    def run(
        self, argv: Sequence[str], *, timeout_s: float, check: bool = True, stdin: str = "", grace_s: float = GRACE_S
    ) -> Done:
        done = self._ask(argv, stdin, timeout_s, time.monotonic() + timeout_s + grace_s)
        if check and done.code:
            raise CommandFailed(f"{shlex.join(argv)}: exit {done.code}\n{done.out}{done.err}")
        return done

    def _ask(self, argv: Sequence[str], stdin: str, timeout_s: float, until: float) -> Done:
        self._asked += 1
        request = json.dumps({"id": self._asked, "argv": list(argv), "stdin": stdin, "timeout_s": timeout_s})
        self._socket.settimeout(max(0.001, until - time.monotonic()))
        self._socket.sendall(request.encode() + b"\n")
        reply = json.loads(self._line(until))
        while reply["id"] != self._asked:  # a late answer to a question that was given up
            reply = json.loads(self._line(until))
        texts = (base64.b64decode(reply[name]).decode(errors="replace") for name in ("out", "err"))
        return Done(reply["exit"], *texts)

    def _line(self, until: float) -> bytes:
        while b"\n" not in self._rest:
            self._socket.settimeout(max(0.001, until - time.monotonic()))
            received = self._socket.recv(65536)
            if not received:
                raise ConnectionError("the machine is gone")
            self._rest += received
        line, _, self._rest = self._rest.partition(b"\n")
        return line
