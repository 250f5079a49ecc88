"""Keep copies of the files that one guest boots from, in a folder in memory that is QEMU's working directory.

QEMU opens kernels and modules by name, some of them twice (hw/i386/multiboot.c). By descriptor it opens them only
through /proc, which it does not see. And a container that changes its files cannot change the copies. The folder is
not mounted anywhere.
"""

import os
import re
import shutil
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from supervisor.core.container import Pid
from supervisor.errors import Permanent, Rejected, Step, Transient
from supervisor.linux import mount_calls
from supervisor.linux.mount_calls import MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID

_NO_PRIVILEGES = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
_COPY_BYTES = 1 << 24


class BootFolder:
    """One folder. The owner closes it; QEMU keeps the folder, but not the files that were removed from it."""

    def __init__(self, descriptor: int | None = None, size_bytes: int | None = None, path: str = "") -> None:
        """`descriptor`: a folder that exists, which this owns then. `size_bytes`: how much a new one may hold."""
        self.descriptor = _mount_tmpfs(size_bytes) if descriptor is None else descriptor
        self.path = path
        """Where it is on disk; empty if it is in memory."""
        self._names: list[str] = []

    @classmethod
    def on_disk(cls, path: Path) -> "BootFolder":
        """Make the folder at this path, in the place of one that is left there. `remove` it once it is not needed."""
        try:
            cls.remove(path)
            path.mkdir(mode=0o700)  # nothing but a descriptor leads into it until it is complete
            path.chmod(0o755)
            return cls(_clone(path), path=str(path))
        except OSError as error:
            remedy = "correct [guest] snapshots; systemd: ReadWritePaths= in a drop-in"
            message = f"cannot make the folder {path}: {error.strerror}"
            raise Permanent(message, step=Step.SPAWN, remedy=remedy) from error

    @staticmethod
    def remove(path: Path) -> None:
        """Remove a folder and its files, if it exists. A QEMU that has them open keeps them until it exits."""
        shutil.rmtree(path, ignore_errors=True)

    @classmethod
    def sweep(cls, parent: Path, known: Collection[str]) -> None:
        """Remove the folders that a killed daemon left for other containers than these, which are full ids."""
        for path in parent.iterdir() if parent.is_dir() else ():
            if re.fullmatch(r"[0-9a-f]{12}", path.name) and not any(each.startswith(path.name) for each in known):
                cls.remove(path)

    @classmethod
    def find(cls, path: str, pid: Pid | None, identity: str) -> "BootFolder | None":
        """Return the folder with this identity: that at the path, or else the working directory of a QEMU."""
        try:
            if path:
                descriptor = _clone(Path(path))
            elif pid is not None:
                descriptor = os.open(f"/proc/{pid}/cwd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            else:
                return None
        except OSError:
            return None
        folder = cls(descriptor, path=path)
        if folder.identity == identity:
            return folder
        folder.close()
        return None

    @property
    def identity(self) -> str:
        """Its device and inode, by which it is recognised."""
        status = os.fstat(self.descriptor)
        return f"{status.st_dev}:{status.st_ino}"

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

    def open_new(self, name: str) -> int:
        """Open an empty file for writing, in the place of one of this name. The caller owns the descriptor."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)
        return self._open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)

    def open_file(self, name: str) -> int:
        """Open a file for reading, from its beginning. The caller owns the descriptor."""
        return self._open(name, os.O_RDONLY)

    def size_of(self, name: str) -> int:
        """Return how much memory or disk space a file takes; 0 if there is none."""
        try:
            return 512 * os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_blocks
        except OSError:
            return 0

    def _open(self, name: str, flags: int, mode: int = 0) -> int:
        try:
            opened = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode, dir_fd=self.descriptor)
        except OSError as error:
            raise Transient(f"cannot open the guest's {name}: {error.strerror}", step=Step.QEMU) from error
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            os.close(opened)
            raise Transient(f"the guest's {name} is no file", step=Step.QEMU)
        return opened

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


def _clone(path: Path) -> int:
    """Return a descriptor of a folder as the root of a mount of its own: `..` does not lead out of it."""
    folder = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return mount_calls.clone_mount(folder)
    finally:
        os.close(folder)


def _mount_tmpfs(size_bytes: int | None) -> int:
    size = {} if size_bytes is None else {"size": str(size_bytes)}
    try:
        return mount_calls.open_unmounted("tmpfs", _NO_PRIVILEGES, mode="0755", **size)
    except OSError as error:
        said = f"cannot make a folder in memory: {error.strerror}"
        if isinstance(error, PermissionError):
            raise Permanent(said, step=Step.SPAWN, remedy="vtapd needs CAP_SYS_ADMIN: run it as root") from error
        raise Transient(said, step=Step.SPAWN) from error
