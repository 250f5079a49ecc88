"""A fork server of `vtapd run`, except that this ends itself by SIGKILL right after a named change to the world.

    python -m tests.harness.killing_daemon PLAN TRACE run --config FILE

What may change the world is named here, once, as the calls by which Python does that; the product knows nothing of it.
Each call of them that comes from `supervisor` and succeeds is one *change*, named by the function that made it, and one
line of TRACE. In PLAN stands after which the daemon dies, as "2 NAME" for the second of that name; "0 NAME" is right
before the first. While PLAN is empty nothing is noted. Both files are opened at once, since the thread that starts
QEMU has no rights left. That no change goes uncounted test_every_change.py proves, by what the kernel saw.
"""

import functools
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any  # arguments of whatever is wrapped

from pyroute2 import AsyncIPRoute

from supervisor.cli.main import main as vtapd
from supervisor.container import executor, tracked_container
from supervisor.edges.docker import Docker
from supervisor.edges.kernel import device_rules_v2
from supervisor.edges.kernel.links import Links
from supervisor.edges.qemu.qmp import QmpSession

from .fork_server import serve

PLAIN: tuple[tuple[Any, str], ...] = (
    *((os, name) for name in ("mkdir", "mknod", "symlink", "rename", "unlink", "chmod", "fchmod", "chown")),
    *((os, name) for name in ("write", "sendfile", "posix_spawn")),
    (signal, "pidfd_send_signal"),
    (Links, "request"),
)
ASYNCHRONOUS: tuple[tuple[Any, str], ...] = (
    *((AsyncIPRoute, name) for name in ("link", "addr", "route")),
    (Docker, "stop"),
    (QmpSession, "execute"),
)
BPF_CHANGES = {5: "load", 8: "attach"}  # linux/bpf.h: BPF_PROG_LOAD, BPF_PROG_ATTACH

PLAN_BYTES = 256
# As the tests read and write TRACE.
BEGIN, END, FAILED, ACTION = "begin ", "end ", "failed ", "action "


class Fate:
    """Counts changes and, at the planned one, ends the process where it stands."""

    def __init__(self, plan: Path, trace: Path) -> None:
        self._plan = os.open(plan, os.O_RDONLY | os.O_CLOEXEC)
        self._trace = os.open(trace, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._write = os.write  # not the one that is counted
        self._latest = ""
        self._counts: Counter[str] = Counter()
        """Of changes since the plan was made."""

    def note(self, line: str) -> None:
        if self._planned():
            self._write(self._trace, f"{line}\n".encode())

    @contextmanager
    def change(self, name: str) -> Iterator[None]:
        """Around the call itself; one that fails has changed nothing."""
        self.note(BEGIN + name)
        self._die_at(name)
        try:
            yield
        except BaseException:
            self.note(FAILED + name)
            raise
        self._counts[name] += 1
        self.note(END + name)
        self._die_at(name)

    def _die_at(self, name: str) -> None:
        if self._planned() == f"{self._counts[name]} {name}":
            os.kill(os.getpid(), signal.SIGKILL)

    def _planned(self) -> str:
        plan = os.pread(self._plan, PLAN_BYTES, 0).decode()
        if plan != self._latest:
            self._latest = plan
            self._counts.clear()
        return plan


def caller(frame: FrameType | None) -> str | None:
    """The innermost function of the product on the stack; None where none called."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("supervisor."):
            return f"{module.removeprefix('supervisor.').removeprefix('edges.')}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return None


def count(fate: Fate, owner: Any, call: str, counts: Callable[..., str | None]) -> None:
    """Count the calls for which `counts` has a word."""
    original: Callable[..., Any] = getattr(owner, call)

    @functools.wraps(original)
    def counted(*args: Any, **kwargs: Any) -> Any:
        word, by = counts(*args, **kwargs), caller(sys._getframe(1))
        if word is None or by is None:
            return original(*args, **kwargs)
        with fate.change(f"{by} {word}"):
            return original(*args, **kwargs)

    setattr(owner, call, counted)


def count_awaited(fate: Fate, owner: Any, call: str) -> None:
    original: Callable[..., Awaitable[Any]] = getattr(owner, call)

    @functools.wraps(original)
    async def counted(*args: Any, **kwargs: Any) -> Any:
        if any(str(word).startswith("query-") for word in args):  # of QEMU, which it does not change
            return await original(*args, **kwargs)
        with fate.change(f"{caller(sys._getframe(1))} {call}"):
            return await original(*args, **kwargs)

    setattr(owner, call, counted)


def opening(path: Any, flags: int, *_: Any, **__: Any) -> str | None:
    """Opens that make a file or empty one; and that of a tap, which adds a queue to it."""
    tap = flags & os.O_RDWR and str(path).startswith("/proc/self/fd/")
    return "open" if tap or flags & os.O_CREAT else None


def trace_actions(fate: Fate, module: Any) -> None:
    original = module.next_action

    @functools.wraps(original)
    def traced(*args: Any) -> Any:
        action = original(*args)
        if action is not None:
            fate.note(ACTION + type(action).__name__)
        return action

    module.next_action = traced


def main() -> None:
    plan, trace = (Path(sys.argv.pop(1)) for _ in range(2))
    fate = Fate(plan, trace)
    for owner, call in PLAIN:
        count(fate, owner, call, lambda *_, call=call, **__: call)
    for owner, call in ASYNCHRONOUS:
        count_awaited(fate, owner, call)
    count(fate, os, "open", opening)
    count(fate, socket.socket, "bind", lambda _, path: "bind" if path else None)  # without one it goes with the process
    count(fate, device_rules_v2, "_bpf", lambda command, *_: BPF_CHANGES.get(command))
    for module in (executor, tracked_container):
        trace_actions(fate, module)
    vtapd()


if __name__ == "__main__":
    serve(main)
