"""Enter and make namespaces."""

import ctypes
import os
import signal

from supervisor.linux.libc import call, libc

# linux/sched.h
CLONE_FS, CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x200, 0x20000, 0x04000000, 0x08000000
CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWUSER = 0x20000000, 0x40000000, 0x10000000
_CLONE_VM, _WALL = 0x100, 0x40000000


def setns(descriptor: int, kind: int) -> None:
    """Move this thread into a namespace (man 2 setns). A pid namespace counts for the children that it starts."""
    call(libc.setns, descriptor, kind)


def unshare(flags: int) -> None:
    """Give this thread its own copy of what the CLONE_ flags name (man 2 unshare)."""
    call(libc.unshare, flags)


def clone_asleep(flags: int, microseconds: int, stack: "ctypes.Array[ctypes.c_char]") -> int:
    """Start a child in new namespaces that only sleeps, and return its pid. `reap_clone` ends it.

    It shares this process's memory, so nothing is copied, and runs one function of the C library on `stack`, which the
    caller keeps until it has reaped the child. (man 2 clone)
    """
    top = ctypes.c_void_p((ctypes.addressof(stack) + len(stack)) & ~0xF)
    sleep = ctypes.cast(libc.usleep, ctypes.c_void_p)
    return call(libc.clone, sleep, top, flags | _CLONE_VM, ctypes.c_void_p(microseconds))


def reap_clone(pid: int) -> None:
    """Kill the child and wait until it has ended, which takes it microseconds."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, _WALL)  # it sends no signal at its end (man 2 waitpid: __WALL)
