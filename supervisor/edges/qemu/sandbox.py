"""Build the file system that QEMU sees: its program, libraries and firmware, read-only.

It is built once, by a thread that enters a new mount namespace and then ends. Descriptors keep the namespaces; each
QEMU is started in them, which costs it nothing more than to enter them.

Its /proc is empty. A process of the container that may trace its QEMU (CAP_SYS_PTRACE, or the same user) can read
/proc/<QEMU>/root. A /proc of the host's processes in there would lead it on to the host's files. A QEMU with shares is
started in a copy of this file system, with the shares and a /proc of the container's processes (`reaper/child.py`).
"""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from supervisor.core.guest.qemu_inputs import MOST_SHARES, share_folder
from supervisor.errors import Permanent, Step
from supervisor.linux.mount_calls import (
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    mount,
    pivot_root,
    umount,
)
from supervisor.linux.namespace_calls import (
    CLONE_FS,
    CLONE_NEWIPC,
    CLONE_NEWNS,
    CLONE_NEWUTS,
    unshare,
)

_LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
_FIRMWARE = ("/usr/share/qemu", "/usr/share/seabios", "/usr/share/OVMF", "/usr/share/AAVMF")
_UNDER_PREFIX = ("lib", "lib64", "share/qemu", "share/seabios")
"""Folders of the prefix that a QEMU was installed in, if that is not /usr."""
_FILE_SERVERS = ("/usr/libexec/virtiofsd",)
"""What is not among the libraries."""
_DEVICES = ("/dev/null", "/dev/urandom", "/dev/kvm")
_NAMESPACES = {"mnt": CLONE_NEWNS, "ipc": CLONE_NEWIPC, "uts": CLONE_NEWUTS}


class Sandbox:
    """The file system for one QEMU program. It exists while this is open or a QEMU runs in it."""

    def __init__(self, program: Path, base: Path) -> None:
        """Build it for a program, given by its path without symlinks. `base`: a folder to mount it on.

        Other processes do not see that mount. Blocks for some milliseconds. Raises Permanent if it cannot be built.
        """
        self._owned = ExitStack()
        self._namespaces: list[tuple[int, int]] = []
        self._failure: OSError | None = None
        thread = threading.Thread(target=self._build, args=(program, base), name="sandbox", daemon=True)
        thread.start()
        thread.join()
        if self._failure is not None:
            self.close()
            raise Permanent(
                f"QEMU cannot have a file system of its own: {self._failure}",
                step=Step.SANDBOX,
                remedy='vtapd needs CAP_SYS_ADMIN, or [guest] sandbox = "off"',
            ) from self._failure

    def namespaces(self, owned: ExitStack) -> list[tuple[int, int]]:
        """Return descriptors of the namespaces to start QEMU in, each with its CLONE_ flag. `owned` closes them."""
        copies = [(os.dup(descriptor), kind) for descriptor, kind in self._namespaces]
        for descriptor, _ in copies:
            owned.callback(os.close, descriptor)
        return copies

    def close(self) -> None:
        """Start no more QEMUs in it."""
        self._owned.close()
        self._namespaces = []

    def _build(self, program: Path, base: Path) -> None:
        """Make it this thread's root. The host's shared memory, message queues and host name are hidden as well."""
        try:
            unshare(CLONE_FS | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS)
            for name, kind in _NAMESPACES.items():  # now, since there is no /proc in it
                descriptor = os.open(f"/proc/thread-self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
                self._owned.callback(os.close, descriptor)
                self._namespaces.append((descriptor, kind))
            _mount_all(program, base)
        except OSError as error:
            self._failure = error


def _mount_all(program: Path, base: Path) -> None:
    os.umask(0o022)  # of this thread only, by now: other users than root need access to these folders
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("vtapd", str(base), "tmpfs", MS_NOSUID | MS_NOEXEC, b"mode=0755,size=1m")
    for source in _shown(program):
        _show(source, base)
    for place in ("/proc", *map(share_folder, range(MOST_SHARES))):
        (base / place.lstrip("/")).mkdir(parents=True)
    mount(None, str(base), None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NODEV)
    os.chdir(base)
    pivot_root(".", ".")  # onto itself, and then from under it (man 2 pivot_root)
    umount(".", MNT_DETACH)
    os.chdir("/")


def _shown(program: Path) -> Iterator[Path]:
    prefix = program.parent.parent
    under_prefix = [] if prefix in (Path("/"), Path("/usr")) else [prefix / name for name in _UNDER_PREFIX]
    yield from (*map(Path, (*_LIBRARIES, *_FIRMWARE, *_FILE_SERVERS, *_DEVICES)), *under_prefix)
    yield program  # last: one of the folders may show it


def _show(source: Path, base: Path) -> None:
    """Show the same file, folder or link under `base`, if it exists and is not shown yet as part of a folder."""
    target = base / source.relative_to("/")
    if not os.path.lexists(source) or os.path.lexists(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        target.symlink_to(source.readlink())
        return
    if source.is_dir():
        target.mkdir()
    else:
        target.touch()
    mount(str(source), str(target), None, MS_BIND)
    nodev = 0 if source.is_char_device() else MS_NODEV
    mount(None, str(target), None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | nodev)
