"""A fork server of a `vtapd run` that kills itself with SIGKILL right after a named change to the machine.

    python -m tests.harness.killing_daemon PLAN TRACE run --config FILE

All Python calls that can change the machine are listed here, in one place; the product does not know of this.
Each call of them that comes from `supervisor` and succeeds is one *change*, named by the function that made it, and one
line of TRACE. PLAN names the change after which the daemon dies: "2 NAME" is the second of that name, "0 NAME" right
before the first. While PLAN is empty nothing is traced. test_every_change.py proves with strace that every change is
counted.
"""

import fcntl
import functools
import os
import signal
import socket
import stat
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any  # arguments of whatever is wrapped

from supervisor.cli.main import main as vtapd
from supervisor.container import executor, tracked_container
from supervisor.core.links import IfIndex
from supervisor.edges.kernel import device_rules_v2
from supervisor.edges.kernel.link_events import LinkEvents
from supervisor.edges.kernel.netlink_socket import NetlinkSocket
from supervisor.edges.qemu import reaper_socket
from supervisor.edges.qemu.qmp import QmpSession
from supervisor.linux import bpf_calls, file_calls

from .forked_daemon import serve_imported

PLAIN: tuple[tuple[Any, str], ...] = (
    *((os, name) for name in ("mkdir", "mknod", "symlink", "rename", "unlink", "chmod", "fchmod", "chown", "fchown")),
    *((os, name) for name in ("setxattr", "sendfile")),
    (file_calls, "exchange"),
    (bpf_calls, "load_bpf"),
    (signal, "pidfd_send_signal"),
    (NetlinkSocket, "request"),
)
ASYNCHRONOUS: tuple[tuple[Any, str], ...] = (
    (QmpSession, "execute"),
    (reaper_socket, "spawn"),
)
TUNSETQUEUE = 0x400454D9  # linux/if_tun.h
BPF_CHANGES = {8: "attach"}  # linux/bpf.h: BPF_PROG_ATTACH

LOGS = ("observability.log_stream.", "container_log.")
"""Lines of a log are no change to the machine: there is nothing to undo."""

PLAN_BYTES = 256
# The kinds of lines in TRACE.
BEGIN, END, FAILED, ACTION = "begin ", "end ", "failed ", "action "


class ChangeCounter:
    """Counts changes, and kills the process at the planned one."""

    def __init__(self, plan: Path, trace: Path) -> None:
        self._plan = os.open(plan, os.O_RDONLY | os.O_CLOEXEC)
        self._trace = os.open(trace, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._write = os.write  # the original, which is not counted
        self._latest = ""
        self._counts: Counter[str] = Counter()
        """Changes since the plan was written, by name."""

    def note(self, line: str) -> None:
        if self._planned():
            self._write(self._trace, f"{line}\n".encode())

    @contextmanager
    def change(self, name: str) -> Iterator[None]:
        """Trace one call; a call that fails has changed nothing."""
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


def deaf_file(trace: Path) -> Path:
    return trace.with_suffix(".deaf")


def caller(frame: FrameType | None) -> str | None:
    """Return the innermost function of the product on the stack; None if there is none."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("supervisor."):
            return f"{module.removeprefix('supervisor.').removeprefix('edges.')}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return None


def count(counter: ChangeCounter, owner: Any, call: str, counts: Callable[..., str | None]) -> None:
    """Count the calls for which `counts` returns a name."""
    original: Callable[..., Any] = getattr(owner, call)

    @functools.wraps(original)
    def counted(*args: Any, **kwargs: Any) -> Any:
        word, by = counts(*args, **kwargs), caller(sys._getframe(1))
        if word is None or by is None or by.startswith(LOGS):
            return original(*args, **kwargs)
        with counter.change(f"{by} {word}"):
            return original(*args, **kwargs)

    setattr(owner, call, counted)


def count_awaited(counter: ChangeCounter, owner: Any, call: str) -> None:
    original: Callable[..., Awaitable[Any]] = getattr(owner, call)

    @functools.wraps(original)
    async def counted(*args: Any, **kwargs: Any) -> Any:
        if any(str(word).startswith(("query-", "qmp_capabilities")) for word in args):  # these do not change QEMU
            return await original(*args, **kwargs)
        with counter.change(f"{caller(sys._getframe(1))} {call}"):
            return await original(*args, **kwargs)

    setattr(owner, call, counted)


def opening(path: Any, flags: int, *_: Any, **__: Any) -> str | None:
    """Return "open" for an open that makes or truncates a file, or that adds a queue to a tap."""
    tap = flags & os.O_RDWR and str(path).startswith("/proc/self/fd/")
    return "open" if tap or flags & os.O_CREAT else None


def switching(_: int, request: int, *__: Any) -> str | None:
    """Return "ioctl" for one that attaches or detaches a queue of a tap."""
    return "ioctl" if request == TUNSETQUEUE else None


def writing(descriptor: int, _: bytes) -> str | None:
    """Return "write" for a write into a file but the log. What is in a pipe ends with its processes."""
    return "write" if descriptor > 2 and stat.S_ISREG(os.fstat(descriptor).st_mode) else None


def trace_actions(counter: ChangeCounter, module: Any) -> None:
    original = module.next_step

    @functools.wraps(original)
    def traced(*args: Any) -> Any:
        step = original(*args)
        if step is not None:
            counter.note(ACTION + type(step.action).__name__)
        return step

    module.next_step = traced


def hear_later(deaf: Path) -> None:
    """Do not let the daemon hear which links are gone while this file exists, as if the kernel's message came late."""
    original = LinkEvents.read

    def read(self: LinkEvents) -> frozenset[IfIndex] | None:
        gone = original(self)
        return frozenset() if deaf.exists() else gone

    LinkEvents.read = read  # type: ignore[method-assign]  # see above


def main() -> None:
    plan, trace = (Path(sys.argv.pop(1)) for _ in range(2))
    counter = ChangeCounter(plan, trace)
    hear_later(deaf_file(trace))
    for owner, call in PLAIN:
        count(counter, owner, call, lambda *_, call=call, **__: call)
    for owner, call in ASYNCHRONOUS:
        count_awaited(counter, owner, call)
    count(counter, os, "open", opening)
    count(counter, os, "write", writing)
    count(counter, fcntl, "ioctl", switching)
    count(
        # What is no path ends with the process.
        counter,
        socket.socket,
        "bind",
        lambda _, address: "bind" if address and isinstance(address, str) else None,
    )
    count(counter, device_rules_v2, "_bpf", lambda command, *_: BPF_CHANGES.get(command))
    for module in (executor, tracked_container):
        trace_actions(counter, module)
    vtapd()


if __name__ == "__main__":
    serve_imported(main)
