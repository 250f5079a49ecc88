"""The files that one guest is booted from: copies in a folder in memory, which has no path and where its QEMU stands.

QEMU opens kernels and modules by name, some of them twice (hw/i386/multiboot.c), and by descriptor only through /proc,
which it does not see. Copies also cannot change under it, whatever the container does to its own files meanwhile.
"""

import ctypes
import os

from supervisor.errors import Permanent, Rejected, Transient

# asm-generic/unistd.h numbers, the same on x86-64 and arm64; constants of linux/mount.h
_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 430, 431, 432
_FSOPEN_CLOEXEC, _FSMOUNT_CLOEXEC, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 1, 1, 1, 6
_NOSUID_NODEV_NOEXEC = 0x2 | 0x4 | 0x8
_COPY_BYTES = 1 << 24

_libc = ctypes.CDLL(None, use_errno=True)


class BootFolder:
    """Whoever has this closes it; QEMU's working directory keeps the folder, not what was removed from it."""

    def __init__(self) -> None:
        self.descriptor = _mount_tmpfs()
        self._names: list[str] = []

    def write(self, name: str, content: bytes) -> None:
        """Add a file that everybody may read."""
        target = self._create(name)
        try:
            while content:
                content = content[os.write(target, content) :]
        except OSError as error:
            raise Transient(f"cannot write the {name}: {error.strerror}", step="kernel") from error
        finally:
            os.close(target)

    def copy(self, name: str, source: int, limit_bytes: int) -> None:
        """Add a copy of an open file. Call it in a thread.

        Raises Rejected where the file has grown beyond the limit meanwhile, or cannot be read.
        """
        target = self._create(name)
        try:
            copied = 0
            while sent := os.sendfile(target, source, copied, _COPY_BYTES):
                copied += sent
                if copied > limit_bytes:
                    raise Rejected(f"{name} grows while it is read", step="kernel", remedy="leave the file alone")
        except OSError as error:
            raise Transient(f"cannot copy the {name}: {error.strerror}", step="kernel") from error
        finally:
            os.close(target)

    def empty(self) -> None:
        """Remove the files: QEMU has read them once it answers, and what it still needs it holds open."""
        while self._names:
            os.unlink(self._names.pop(), dir_fd=self.descriptor)

    def close(self) -> None:
        os.close(self.descriptor)

    def _create(self, name: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, 0o444, dir_fd=self.descriptor)
        except OSError as error:
            raise Transient(f"cannot copy the {name}: {error.strerror}", step="kernel") from error
        self._names.append(name)
        os.fchmod(descriptor, 0o444)  # whatever the umask
        return descriptor


def _mount_tmpfs() -> int:
    """One that is mounted nowhere: only this descriptor leads to it."""
    context = _check(_libc.syscall(_SYS_FSOPEN, b"tmpfs", _FSOPEN_CLOEXEC))
    try:
        _check(_libc.syscall(_SYS_FSCONFIG, context, _FSCONFIG_SET_STRING, b"mode", b"0755", 0))
        _check(_libc.syscall(_SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0))
        return _check(_libc.syscall(_SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, _NOSUID_NODEV_NOEXEC))
    finally:
        os.close(context)


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        if number in (1, 13):
            raise Permanent(
                f"cannot make a folder in memory: {os.strerror(number)}",
                step="spawn",
                remedy="vtapd needs CAP_SYS_ADMIN: run it as root",
            )
        raise Transient(f"cannot make a folder in memory: {os.strerror(number)}", step="spawn")
    return result
