"""Start a Python program many times and import it once.

The server has imported the program. For each start it forks a child that runs it, and says how the child ended.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h
IMPORTED_S = 30.0


def serve(main: Callable[[], None]) -> None:
    """For each line on standard input, the path of a log, run `main` in a child; print its pid and then its status."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become_a_program(line.removesuffix("\n"))
            main()
            return
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become_a_program(log: str) -> None:
    """As if started by itself: it ends with its parent, reads nothing, and writes to its log alone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for descriptor, number in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, number)
    os.close(nothing)
    os.close(output)


class ForkServer:
    """`argv` is a program that calls `serve`. One child at a time."""

    def __init__(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], pass_fds: Sequence[int]) -> None:
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd=cwd, env=env, pass_fds=pass_fds
        )

    def fork(self, log: Path) -> "ForkedProcess":
        assert self._process.stdin is not None
        self._process.stdin.write(f"{log}\n".encode())
        pid = self.next_number(IMPORTED_S)
        assert pid > 0, f"{pid} is no pid but the status of a child that was not waited for"
        return ForkedProcess(pid, self)

    def next_number(self, timeout_s: float | None) -> int:
        """Raises TimeoutExpired if the server says nothing within the timeout."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], timeout_s)
        if not ready:
            raise subprocess.TimeoutExpired(self._process.args, timeout_s or 0)
        line = self._process.stdout.readline()
        assert line, f"the fork server ended with {self._process.wait(1)}"
        return int(line)

    def close(self) -> None:
        """End the server; a child that still runs ends with it."""
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
            self.returncode = self._server.next_number(timeout)
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
            os.kill(self.pid, number)
