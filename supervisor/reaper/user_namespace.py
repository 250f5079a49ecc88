"""Make a user namespace in which one user and one group exist: those of a guest, under other numbers.

It maps the files of a share to the guest's user, and the file server that runs in it sees these files as its own. It
takes a process that is started in the namespace. In the daemon such a process would hold locks and ports for a moment
after the daemon was killed. (man 7 user_namespaces)
"""

import ctypes
import os

from supervisor.linux import namespace_calls

_SLEEP_US = 250_000
"""The process lives for microseconds. If the reaper is killed meanwhile, it ends by itself after this time."""
_STACK_BYTES = 1 << 16


def open_user_namespace(inside: list[int], outside: list[int]) -> int:
    """Return a namespace in which the host's uid and gid `outside` have the numbers `inside`. The caller owns it."""
    stack = ctypes.create_string_buffer(_STACK_BYTES)
    child = namespace_calls.clone_asleep(namespace_calls.CLONE_NEWUSER, _SLEEP_US, stack)
    try:
        for name, within, on_host in zip(("uid_map", "gid_map"), inside, outside, strict=True):
            _write(f"/proc/{child}/{name}", f"{within} {on_host} 1")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        namespace_calls.reap_clone(child)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
