"""What the daemon holds of a QEMU that runs, and where its sockets are."""

import socket
from dataclasses import dataclass
from pathlib import Path

from supervisor.core.model import ContainerId, ProcessRecord, short_id
from supervisor.edges.kernel.process import Process
from supervisor.edges.qemu.boot_folder import BootFolder


class SocketPaths:
    """Where a guest's sockets are, so that any later daemon finds them."""

    def __init__(self, run_dir: Path, container_id: ContainerId) -> None:
        self.name = short_id(container_id)
        self.qmp = run_dir / f"{self.name}.qmp"
        self.console = run_dir / f"{self.name}.console"

    def remove(self) -> None:
        self.qmp.unlink(missing_ok=True)
        self.console.unlink(missing_ok=True)


@dataclass(slots=True)
class RunningQemu:
    """A QEMU and all that the daemon holds of it. It has one owner, who closes it."""

    process: Process
    record: ProcessRecord
    console: socket.socket | None
    """A connection to the guest's console; None where it could not be reached."""
    folder: BootFolder | None = None
    """What it is booted from, until it has."""

    def forget_files(self) -> None:
        """It runs: what it was booted from takes no more memory."""
        if self.folder is not None:
            self.folder.empty()
            self.folder.close()
            self.folder = None

    def close(self) -> None:
        """Let go of it. It may be booting yet, so its files stay; they go with it."""
        if self.folder is not None:
            self.folder.close()
        self.process.close()
        if self.console is not None:
            self.console.close()
