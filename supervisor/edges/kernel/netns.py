"""Network namespaces: calling a function inside one, and descriptors that reach into one.

`setns` (man 2 setns) acts on the calling thread. A function of a few system calls runs in the caller's own thread,
which is back before anything else can run in it. What stays in a namespace runs in a thread that ends after it.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from supervisor.core.container import Pid
from supervisor.errors import ContainerGone, Permanent, Step, Transient
from supervisor.linux import mount_calls, namespace_calls

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NetnsHandles:
    """Descriptors that reach into a namespace from outside. The holder closes both."""

    netlink: int
    """An rtnetlink socket that was created inside."""
    sysfs: int
    """The root directory of a sysfs that shows the namespace's devices."""


async def _run_in_new_thread(function: Callable[[], T]) -> T:
    """Call `function` in a thread that ends after it, so that it may enter a namespace for good.

    If the awaiting task is cancelled, the thread still runs to its end.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def deliver(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # it is None only if `function` returned None

    def run() -> None:
        try:
            result = function()
        except BaseException as error:
            loop.call_soon_threadsafe(deliver, None, error)
        else:
            loop.call_soon_threadsafe(deliver, result, None)

    try:
        threading.Thread(target=run, name="netns", daemon=True).start()
    except RuntimeError as error:
        raise Transient("no thread can be started", step=Step.NETNS, remedy="raise TasksMax or ulimit -u") from error
    return await future


def open_namespaces(owned: ExitStack, pid: Pid, namespaces: dict[str, int]) -> list[tuple[int, int]]:
    """Return descriptors of these namespaces of a process, each with its flag, such as {"net": CLONE_NEWNET}.

    `owned` closes them. Raises ContainerGone if the process has ended.
    """
    return [(_open_namespace(owned, pid, name), kind) for name, kind in namespaces.items()]


def call_inside(pid: Pid, function: Callable[[], T]) -> T:
    """Call `function`, which must not wait, in this thread while that is in the network namespace of a process.

    Raises ContainerGone if the process has ended. If the thread cannot come back, this process aborts: otherwise it
    would do the daemon's own work in a container's network. The guests live on.
    """
    with ExitStack() as owned:
        return _call_in(_open_namespace(owned, pid, "net"), function)


def _call_in(namespace: int, function: Callable[[], T]) -> T:
    with ExitStack() as owned:
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        owned.callback(os.close, home)
        _enter(namespace, namespace_calls.CLONE_NEWNET)
        try:
            return function()
        finally:
            try:
                namespace_calls.setns(home, namespace_calls.CLONE_NEWNET)
            except OSError:
                os.abort()


def open_netns(pid: Pid) -> NetnsHandles:
    """Reach into a process's network namespace, without a fork or a thread. The caller owns the handles."""
    return call_inside(pid, _open_handles)


def open_netlink(pid: Pid) -> int:
    """Return an rtnetlink socket in a process's network namespace. The caller owns it."""
    return call_inside(pid, _netlink).detach()


async def open_scratch() -> NetnsHandles:
    """Reach into a new network namespace. The kernel removes it once the handles are closed."""
    return await _run_in_new_thread(_open_scratch)


def _open_scratch() -> NetnsHandles:
    try:
        namespace_calls.unshare(namespace_calls.CLONE_NEWNET)
    except OSError as error:
        raise _translate(error, "make a network namespace") from error
    return _open_handles()


def _open_handles() -> NetnsHandles:
    with ExitStack() as owned:
        netlink = owned.enter_context(_netlink())
        handles = NetnsHandles(netlink.fileno(), _mount_sysfs())
        netlink.detach()
    return handles


def _netlink() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)


def _mount_sysfs() -> int:
    """Return a sysfs of this thread's network namespace."""
    try:
        return mount_calls.open_unmounted("sysfs")
    except OSError as error:
        raise _translate(error, "mount a sysfs") from error


def _enter(namespace: int, kind: int) -> None:
    try:
        namespace_calls.setns(namespace, kind)
    except OSError as error:
        raise _translate(error, "enter a namespace") from error


def _translate(error: OSError, what: str) -> Permanent | Transient:
    said = f"cannot {what}: {error.strerror}"
    if isinstance(error, PermissionError):
        return Permanent(said, step=Step.NETNS, remedy="vtapd needs CAP_SYS_ADMIN: run it as root")
    return Transient(said, step=Step.NETNS)


def _open_namespace(owned: ExitStack, pid: Pid, name: str) -> int:
    try:
        descriptor = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        owned.callback(os.close, descriptor)
        return descriptor
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ContainerGone(f"process {pid} has ended", step=Step.NETNS) from error
    except PermissionError as error:
        raise Permanent(
            f"cannot open the {name} namespace of process {pid}: {error.strerror}",
            step=Step.NETNS,
            remedy="vtapd needs CAP_SYS_PTRACE and CAP_SYS_ADMIN: run it as root",
        ) from error


def is_own(pid: Pid) -> bool:
    """Return whether a process is in the network namespace of this thread; True if that is not readable."""
    try:
        return Path(f"/proc/{pid}/ns/net").samefile("/proc/thread-self/ns/net")
    except OSError:
        return True
