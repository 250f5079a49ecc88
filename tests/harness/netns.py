"""A network namespace without a name: it is held by a descriptor, so it is gone when the tests are, however they end.

Nothing is put under /var/run/netns, which belongs to the daemon under test. `ip netns exec` is not used either: it
mounts a new /sys and so hides the cgroups.
"""

import ctypes
import os
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

CLONE_NEWNET = 0x40000000  # linux/sched.h

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, call: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")


def _in_thread(work: Callable[[], Result]) -> Result:
    """Runs in a thread that is thrown away: setns and unshare change the calling thread for good."""
    answers: list[Result] = []
    problems: list[BaseException] = []

    def body() -> None:
        try:
            answers.append(work())
        except BaseException as error:  # raised again in the caller's thread
            problems.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if problems:
        raise problems[0]
    return answers[0]


def inside(descriptor: int, work: Callable[[], Result]) -> Result:
    """Call `work` in the network namespace of this descriptor; sockets that it makes stay there."""

    def entered() -> Result:
        _checked(_libc.setns(descriptor, CLONE_NEWNET), "setns")
        return work()

    return _in_thread(entered)


def inside_of(pid: int, work: Callable[[], Result]) -> Result:
    """Call `work` in the network namespace of a process."""
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return inside(descriptor, work)
    finally:
        os.close(descriptor)


class NetworkNamespace:
    """Owns `fd`; children enter by `nsenter --net=/proc/self/fd/N` when the descriptor is passed to them."""

    def __init__(self) -> None:
        def unshared() -> int:
            _checked(_libc.unshare(CLONE_NEWNET), "unshare(CLONE_NEWNET)")
            return os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)

        self.fd = _in_thread(unshared)

    def inside(self, work: Callable[[], Result]) -> Result:
        return inside(self.fd, work)

    def close(self) -> None:
        os.close(self.fd)
