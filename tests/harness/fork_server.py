"""Start a Python program many times and import it once.

The server has imported the program. For each start it forks a child that runs it, and reports when the child has ended.
"""

import ctypes
import gc
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

PR_SET_PDEATHSIG = 1  # linux/prctl.h
IMPORTED_S = 30.0
STARTED, ENDED = "started", "ended"


def serve(main: Callable[[], None]) -> None:
    """Run `main` in a child for each line on standard input. Print the pid of each child, and later how it ended."""
    gc.collect()
    gc.freeze()  # a collection in a child would copy the pages of everything that was imported
    wakes, waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waking)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    unread = b""
    while True:
        ready, _, _ = select.select([0, wakes], [], [])
        if wakes in ready:
            os.read(wakes, 4096)
            _report_ends()
        if 0 not in ready:
            continue
        piece = os.read(0, 65536)
        if not piece:
            return
        *lines, unread = (unread + piece).split(b"\n")
        for line in lines:
            child = os.fork()
            if child == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.close(wakes)
                os.close(waking)
                _become_a_program(**json.loads(line))
                _exit_after(main)
            print(STARTED, child, flush=True)


def _exit_after(main: Callable[[], None]) -> NoReturn:
    """End without Python's own clean-up, which would copy the pages of everything that was imported."""
    try:
        main()
        status: object = 0
    except SystemExit as end:
        status = end.code or 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)


def _report_ends() -> None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            print(ENDED, ended[0], os.waitstatus_to_exitcode(ended[1]), flush=True)


def _become_a_program(arguments: list[str], env: dict[str, str], log: str) -> None:
    """As if started by itself: it ends with its parent, reads nothing, and writes to its log alone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    sys.argv[1:] = arguments
    os.environ.clear()
    os.environ.update(env)
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for descriptor, number in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, number)
    os.close(nothing)
    os.close(output)


class ForkServer:
    """`argv` is a program that calls `serve`."""

    def __init__(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], pass_fds: Sequence[int]) -> None:
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd=cwd, env=env, pass_fds=pass_fds
        )
        self._statuses: dict[int, int] = {}

    def fork(self, arguments: Sequence[str], env: Mapping[str, str], log: Path) -> "ForkedProcess":
        assert self._process.stdin is not None
        request = {"arguments": list(arguments), "env": dict(env), "log": str(log)}
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        while (pid := self._read(IMPORTED_S)) is None:
            pass
        return ForkedProcess(pid, self)

    def status_of(self, pid: int, timeout_s: float | None) -> int:
        """Return how a child ended. Raises TimeoutExpired if it has not ended within the timeout."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while pid not in self._statuses:
            self._read(None if until is None else max(0.0, until - time.monotonic()))
        return self._statuses[pid]

    def _read(self, timeout_s: float | None) -> int | None:
        """Return the pid of a child that has started, or None once one has ended."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], timeout_s)
        if not ready:
            raise subprocess.TimeoutExpired(self._process.args, timeout_s or 0)
        line = self._process.stdout.readline()
        assert line, f"the fork server ended with {self._process.wait(1)}"
        word, *numbers = line.decode().split()
        if word == STARTED:
            self._statuses.pop(int(numbers[0]), None)  # of an earlier child that had the same pid
            return int(numbers[0])
        self._statuses[int(numbers[0])] = int(numbers[1])
        return None

    def close(self) -> None:
        """End the server; children that still run end with it."""
        with self._process as process:
            process.terminate()


class ForkedProcess:
    """A child of the server, with what subprocess.Popen has."""

    def __init__(self, pid: int, server: ForkServer) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._server = server

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.returncode = self._server.status_of(self.pid, timeout)
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
