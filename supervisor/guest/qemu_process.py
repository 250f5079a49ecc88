"""The descriptors that the daemon has for a QEMU that runs, and the paths of its files."""

import socket
from dataclasses import dataclass
from pathlib import Path

from supervisor.core.container import ContainerId, short_id
from supervisor.core.record import ProcessRecord, ShareServer
from supervisor.edges.kernel.process import Process
from supervisor.edges.qemu.boot_folder import BootFolder

_SHARE = ".share"
VARIANTS = ("", ".b", ".c")
"""At most one QEMU of a container runs, one takes over from it, and one is still to end."""


class SocketPaths:
    """The paths of a guest's sockets and report, which a later daemon finds again."""

    def __init__(self, run_dir: Path, container_id: ContainerId, variant: str = "") -> None:
        """`variant` distinguishes the QEMUs of one container, of which one runs the guest and others wait."""
        self.name = short_id(container_id)
        self.variant = variant
        self._run_dir = run_dir
        self._container_id = container_id
        stem = f"{self.name}{variant}"
        self.qmp = run_dir / f"{stem}.qmp"
        self.console = run_dir / f"{stem}.console"
        self.exit = run_dir / f"{stem}.exit"
        """The report of the last exit, which the reaper saves. It is removed once the exit is on record."""

    def share(self, number: int) -> Path:
        """Return the path of the socket of a share's virtiofsd, which exists for a moment only."""
        return self.qmp.with_suffix(f"{_SHARE}{number}")

    def of(self, variant: str) -> "SocketPaths":
        """Return the paths of another QEMU of this container."""
        return SocketPaths(self._run_dir, self._container_id, variant)

    def remove(self) -> None:
        """Remove what all QEMUs of the container have left."""
        for each in map(self.of, VARIANTS):
            each.qmp.unlink(missing_ok=True)
            each.console.unlink(missing_ok=True)
            each.exit.unlink(missing_ok=True)
        for left_by_a_kill in self._run_dir.glob(f"{self.name}*{_SHARE}*"):
            left_by_a_kill.unlink(missing_ok=True)

    def remove_report(self) -> None:
        """Remove the reports of exits, which may have been saved a moment ago."""
        for each in map(self.of, VARIANTS):
            each.exit.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class RunningServer:
    """The virtiofsd of one share, and the daemon's descriptor for it. Its owner closes it."""

    record: ShareServer
    process: Process | None
    """None if it has ended."""

    def close(self) -> None:
        """Leave it alone: it ends when its QEMU does."""
        if self.process is not None:
            self.process.close()

    def kill(self) -> None:
        """End it, if it has not ended by itself."""
        if self.process is not None:
            self.process.kill()


@dataclass(slots=True)
class RunningQemu:
    """A QEMU and the daemon's descriptors for it. Its owner closes it."""

    process: Process
    record: ProcessRecord
    console: socket.socket | None
    """A connection to the guest's console; None if it could not be reached."""
    folder: BootFolder | None = None
    """The files that it boots from; None once it has read them."""
    servers: tuple[RunningServer, ...] = ()
    """Those of its shares. They end with it."""

    def forget_files(self) -> None:
        """Free the memory of the files that it booted from."""
        if self.folder is not None:
            self.folder.empty()
            self.folder.close()
            self.folder = None

    def close(self) -> None:
        """Close the descriptors. A QEMU that still boots keeps its files until it exits."""
        if self.folder is not None:
            self.folder.close()
        self.process.close()
        for server in self.servers:
            server.close()
        if self.console is not None:
            self.console.close()
