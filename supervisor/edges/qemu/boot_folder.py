"""Keep copies of the files that one guest boots from, in a folder in memory that is QEMU's working directory.

QEMU opens kernels and modules by name, some of them twice (hw/i386/multiboot.c). By descriptor it opens them only
through /proc, which it does not see. And a container that changes its files cannot change the copies. The folder is
not mounted anywhere.
"""

import os

from supervisor import linux
from supervisor.errors import Permanent, Rejected, Step, Transient

_NO_PRIVILEGES = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV | linux.MOUNT_ATTR_NOEXEC
_COPY_BYTES = 1 << 24


class BootFolder:
    """One folder. The owner closes it; QEMU keeps the folder, but not the files that were removed from it."""

    def __init__(self) -> None:
        self.descriptor = _mount_tmpfs()
        self._names: list[str] = []

    def write(self, name: str, content: bytes) -> None:
        """Add a file that every user may read."""
        target = self._create(name)
        try:
            while content:
                content = content[os.write(target, content) :]
        except OSError as error:
            raise Transient(f"cannot write the {name}: {error.strerror}", step=Step.KERNEL) from error
        finally:
            os.close(target)

    def copy(self, name: str, source: int, limit_bytes: int) -> None:
        """Add a copy of an open file. Blocks: call it in a thread.

        Raises Rejected if the file has grown beyond the limit since it was opened.
        """
        target = self._create(name)
        try:
            copied = 0
            while sent := os.sendfile(target, source, copied, _COPY_BYTES):
                copied += sent
                if copied > limit_bytes:
                    raise Rejected(f"{name} grows while it is read", step=Step.KERNEL, remedy="leave the file alone")
        except OSError as error:
            raise Transient(f"cannot copy the {name}: {error.strerror}", step=Step.KERNEL) from error
        finally:
            os.close(target)

    def reserve(self, name: str, size_bytes: int) -> None:
        """Add a file of this size that QEMU may write, without content: it takes memory as it is written."""
        descriptor = self._create(name, mode=0o666)
        try:
            os.ftruncate(descriptor, size_bytes)
        except OSError as error:
            raise Transient(f"cannot make the {name}: {error.strerror}", step=Step.KERNEL) from error
        finally:
            os.close(descriptor)

    def empty(self) -> None:
        """Remove the files. QEMU has read them once it answers on QMP, and keeps open what it still needs."""
        while self._names:
            os.unlink(self._names.pop(), dir_fd=self.descriptor)

    def close(self) -> None:
        os.close(self.descriptor)

    def _create(self, name: str, mode: int = 0o444) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, mode, dir_fd=self.descriptor)
        except OSError as error:
            raise Transient(f"cannot copy the {name}: {error.strerror}", step=Step.KERNEL) from error
        self._names.append(name)
        os.fchmod(descriptor, mode)  # independent of the umask
        return descriptor


def _mount_tmpfs() -> int:
    try:
        return linux.open_unmounted("tmpfs", _NO_PRIVILEGES, mode="0755")
    except OSError as error:
        said = f"cannot make a folder in memory: {error.strerror}"
        if isinstance(error, PermissionError):
            raise Permanent(said, step=Step.SPAWN, remedy="vtapd needs CAP_SYS_ADMIN: run it as root") from error
        raise Transient(said, step=Step.SPAWN) from error
