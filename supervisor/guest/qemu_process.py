"""The descriptors that the daemon has for a QEMU that runs, and the paths of its files."""

import socket
from dataclasses import dataclass
from pathlib import Path

from supervisor.core.container import ContainerId, short_id
from supervisor.core.record import ProcessRecord
from supervisor.edges.kernel.process import Process
from supervisor.edges.qemu.boot_folder import BootFolder


class SocketPaths:
    """The paths of a guest's sockets and report, which a later daemon finds again."""

    def __init__(self, run_dir: Path, container_id: ContainerId) -> None:
        self.name = short_id(container_id)
        self.qmp = run_dir / f"{self.name}.qmp"
        self.console = run_dir / f"{self.name}.console"
        self.exit = run_dir / f"{self.name}.exit"
        """The report of the last exit, which the reaper saves. It is removed once the exit is on record."""

    def remove(self) -> None:
        self.qmp.unlink(missing_ok=True)
        self.console.unlink(missing_ok=True)
        self.remove_report()

    def remove_report(self) -> None:
        self.exit.unlink(missing_ok=True)


@dataclass(slots=True)
class RunningQemu:
    """A QEMU and the daemon's descriptors for it. Its owner closes it."""

    process: Process
    record: ProcessRecord
    console: socket.socket | None
    """A connection to the guest's console; None if it could not be reached."""
    folder: BootFolder | None = None
    """The files that it boots from; None once it has read them."""

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
        if self.console is not None:
            self.console.close()
