"""The machine: QEMU with the built disk, which is read and never written, so that every run starts the same."""

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.harness.waiting import eventually

from .agent_client import AgentClient, Done

BOOT_S = 300.0
SHUTDOWN_S = 200.0
STOP_S = 5.0
ANSWER_S = 5.0
BOOT_ID = "/proc/sys/kernel/random/boot_id"
MEMORY = "2G"
# Mitigations for other processors, which cost much if each instruction is emulated.
FASTER = "quiet mitigations=off audit=0"
DISK = "format=raw,if=virtio,snapshot=on,cache=unsafe"
# One processor of the oldest kind that Debian 13's QEMU runs on: newer instructions, and what processors do to each
# other, take long if they are emulated. It has no virtualisation.
PROCESSOR = ("-cpu", "Nehalem", "-smp", "1")


@dataclass(frozen=True)
class Disks:
    kernel: Path
    initrd: Path
    root: Path
    added: Path


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class SystemdMachine:
    """Boots on entry, and is killed on exit. `published` is the host's port for the machine's port 8080."""

    def __init__(self, disks: Disks, home: Path) -> None:
        self.disks, self.home = disks, home
        self.published = _free_port()
        self.console = home / "console.log"

    def _argv(self) -> list[str]:
        disks = self.disks
        return [
            "qemu-system-x86_64",
            *("-accel", "tcg"),
            *PROCESSOR,
            *("-m", MEMORY),
            *("-nodefaults", "-no-user-config", "-display", "none"),
            *("-kernel", str(disks.kernel), "-initrd", str(disks.initrd)),
            *("-append", f"root=/dev/vda rw console=ttyS0 net.ifnames=0 {FASTER}"),
            # Writes go to a temporary file without a name.
            *(word for disk in (disks.root, disks.added) for word in ("-drive", f"file={disk},{DISK}")),
            *("-chardev", f"file,id=console,path={self.console}", "-serial", "chardev:console"),
            *("-device", "virtio-serial", "-chardev", f"socket,id=agent,path={self.home}/agent,server=on,wait=off"),
            *("-device", "virtserialport,chardev=agent,name=vtapd.test"),
            # No connection to the outside; one port leads in.
            *("-netdev", f"user,id=wan,restrict=on,hostfwd=tcp:127.0.0.1:{self.published}-10.0.2.15:8080"),
            *("-device", "virtio-net-pci,netdev=wan"),
            *("-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"),
        ]

    def __enter__(self) -> "SystemdMachine":
        began = time.monotonic()
        with (self.home / "qemu.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | {"TMPDIR": "/var/tmp"}
            )
        try:
            self.agent = AgentClient(self.home / "agent", BOOT_S)
        except BaseException as error:
            self._stop()
            raise AssertionError(f"the machine did not boot:\n{self.console_tail()}") from error
        self.boot_s = time.monotonic() - began
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.agent.close()
        self._stop()

    def _stop(self) -> None:
        """Kill it: its disk is thrown away, so it needs no clean shutdown."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(STOP_S)

    def console_tail(self, count: int = 30) -> str:
        printed = self.console.read_text(errors="replace") if self.console.exists() else ""
        complaint = (self.home / "qemu.log").read_text(errors="replace")
        return "\n".join([*printed.splitlines()[-count:], complaint])

    def reboot(self) -> None:
        """Start it again, as an administrator does, and wait until it answers. Its disks keep what was written."""
        last = self.run("cat", BOOT_ID).out
        self.run("systemctl", "reboot", "--no-block")

        def is_another_boot() -> bool:
            """Ask briefly, since a request is lost if the machine goes down meanwhile."""
            return self.agent.run(("cat", BOOT_ID), timeout_s=ANSWER_S, grace_s=ANSWER_S).out != last

        eventually(is_another_boot, "the machine has booted again", SHUTDOWN_S + BOOT_S, every_s=1.0)

    def run(self, *argv: str, timeout_s: float = 60.0, check: bool = True, stdin: str = "") -> Done:
        """Run a command in the machine, as root. With `check`, another exit code than 0 raises CommandFailed."""
        return self.agent.run(argv, timeout_s=timeout_s, check=check, stdin=stdin)

    def sh(self, script: str, *args: str, timeout_s: float = 60.0, check: bool = True) -> Done:
        """Run a shell script in the machine; `args` are its $1 and so on."""
        return self.run("sh", "-euc", script, "sh", *args, timeout_s=timeout_s, check=check)
