"""vtapd and Docker inside the machine, used as an administrator does: systemctl, journalctl, docker and curl."""

import json
from typing import Any  # what docker and journalctl print; it does not leave this file

from tests.harness.metrics import Metrics
from tests.harness.waiting import eventually

from .disk import CONTAINER_IMAGE, DEB, INSIDE
from .machine import SystemdMachine

SETTLE_S = 400.0
DPKG_S = 300.0
START_S = 180.0
PAGE_S = 120.0
METRICS = "http://127.0.0.1:9817/metrics"
UNIT = "vtapd.service"
IMAGE = "vtapd-test"
BACK_AFTER_REBOOT = ("--restart", "unless-stopped")


def prepare(machine: SystemdMachine) -> None:
    """Wait for the end of the boot, note the files, and install the package, which starts the service."""
    await_boot(machine)
    machine.run("docker", "import", f"/{CONTAINER_IMAGE}", IMAGE)
    note_files(machine)
    dpkg(machine, "--install", f"/{DEB}")


def await_boot(machine: SystemdMachine) -> None:
    state = machine.run("systemctl", "is-system-running", "--wait", timeout_s=SETTLE_S, check=False)
    failed = machine.run("systemctl", "--failed", "--plain", check=False).out
    assert state.out.strip() == "running", f"the machine is {state.out}{failed}"


def dpkg(machine: SystemdMachine, *words: str) -> str:
    """Run dpkg without anyone to answer a question, as in an unattended upgrade."""
    done = machine.sh('exec dpkg "$@" 2>&1 </dev/null', *words, timeout_s=DPKG_S)
    return done.out


# Docker, dpkg and logs write by themselves, and /srv belongs to these tests. /run is another file system.
BUSY = (
    *("/var/lib/docker", "/var/lib/containerd", "/var/lib/dpkg", "/var/lib/systemd/timers"),
    *("/var/log", "/var/cache", "/var/tmp", "/tmp", "/srv"),
)
FILES = f"find / -xdev \\( -path {' -o -path '.join(BUSY)} \\) -prune -o -print | LC_ALL=C sort"

NOTED = "/srv/files-before"


def note_files(machine: SystemdMachine) -> None:
    machine.sh(f"{FILES} >{NOTED}")


def changed_files(machine: SystemdMachine) -> list[str]:
    """Return the paths that were added or removed since note_files."""
    return machine.sh(f"{FILES} | LC_ALL=C comm -3 {NOTED} -").out.split()


class Service:
    def __init__(self, machine: SystemdMachine) -> None:
        self.machine = machine

    def systemctl(self, *words: str) -> None:
        self.machine.run("systemctl", *words, UNIT, timeout_s=START_S)

    def show(self, name: str) -> str:
        """Return one property of the unit."""
        return self.machine.run("systemctl", "show", "--value", "-p", name, UNIT).out.strip()

    @property
    def main_pid(self) -> int:
        return int(self.show("MainPID"))

    @property
    def pids(self) -> list[int]:
        """Return the pids in the service's own cgroup."""
        return [int(pid) for pid in self.machine.run("cat", f"/sys/fs/cgroup/system.slice/{UNIT}/cgroup.procs").lines]

    def parent_of(self, pid: int) -> int:
        status = self.machine.run("cat", f"/proc/{pid}/status").lines
        return int(next(line for line in status if line.startswith("PPid:")).split()[1])

    def await_ready(self) -> None:
        """Wait until the service answers, after a start that systemctl did not do."""
        eventually(lambda: self.show("ActiveState") == "active", "vtapd is active", START_S, every_s=0.5)

    def metrics(self) -> Metrics:
        return Metrics(self.machine.run("curl", "-sSf", "-m", "20", METRICS).out)

    def row(self, container: str) -> dict[str, Any]:
        """Return a container's line of `vtapd ps`."""
        rows: list[dict[str, Any]] = json.loads(self.machine.run("vtapd", "ps", "--json").out)
        return next((row for row in rows if row["name"] == container), {})

    def journal(self, *words: str) -> list[dict[str, str]]:
        """Return the journal entries that match these words, oldest first."""
        return [json.loads(line) for line in self.machine.run("journalctl", "-q", "-o", "json", *words).lines]

    def programs(self, container: "Inside") -> list[int]:
        """Return the ids of the device programs on a container's cgroup."""
        script = (
            "import sys; from tests.harness.device_programs import DevicePrograms as P;"
            "print(*P(int(sys.argv[1])).ids())"
        )
        printed = self.machine.sh(f'cd /{INSIDE}; exec python3 -c "$1" "$2"', script, str(container.pid)).out
        return [int(word) for word in printed.split()]


class Inside:
    """One container in the machine. A command of Docker takes seconds there, so none is asked twice."""

    def __init__(self, machine: SystemdMachine, name: str, container_id: str) -> None:
        self.machine, self.name, self.id = machine, name, container_id

    @classmethod
    def run(cls, machine: SystemdMachine, name: str, *options: str) -> "Inside":
        started = machine.run("docker", "run", "-d", "--name", name, *options, IMAGE, "sleep", "infinity")
        return cls(machine, name, started.out.strip())

    def inspect(self, field: str) -> str:
        return self.machine.run("docker", "inspect", "-f", f"{{{{{field}}}}}", self.name).out.strip()

    @property
    def pid(self) -> int:
        return int(self.inspect(".State.Pid"))

    @property
    def scope(self) -> str:
        return f"docker-{self.id}.scope"

    @property
    def address(self) -> str:
        return self.inspect(".NetworkSettings.IPAddress")

    def exec(self, script: str) -> str:
        return self.machine.run("docker", "exec", self.name, "sh", "-c", script).out.strip()

    def opened(self, *paths: str) -> list[str]:
        """Return the devices that a process in the container can open. A path that is no device is an error."""
        each = 'test -c "$1" || exit 9; (exec 3<>"$1") 2>/dev/null && echo "$1"; shift'
        return self.exec(f"set -- {' '.join(paths)}; while [ $# != 0 ]; do {each}; done").split()

    def device_number(self, path: str) -> tuple[int, int]:
        major, minor = self.machine.run("stat", "-c", "%t %T", f"/proc/{self.pid}/root{path}").out.split()
        return int(major, 16), int(minor, 16)

    def remove(self) -> None:
        self.machine.run("docker", "rm", "-f", self.name)

    def qemu(self) -> int:
        """Return the pid of its one QEMU, found in the container's cgroup."""
        script = 'for p in $(cat /sys/fs/cgroup/system.slice/"$1"/cgroup.procs); do echo $p $(cat /proc/$p/comm); done'
        running = [line.split() for line in self.machine.sh(script, self.scope).lines]
        pids = [int(pid) for pid, name in running if name.startswith("qemu")]
        assert len(pids) == 1, f"in {self.scope} run {running}"
        return pids[0]

    def page(self, address: str = "") -> str:
        return self.machine.run("curl", "-sSf", "-m", "20", f"http://{address or self.address}/").out

    def await_page(self) -> str:
        address = self.address
        return eventually(lambda: self.page(address), f"the guest of {self.name} answers", PAGE_S, every_s=0.5)

    def await_attached(self) -> "Inside":
        tap = f"/proc/{self.pid}/root/dev/tap0"
        eventually(lambda: self.machine.run("test", "-c", tap), f"{self.name} has its tap", PAGE_S, every_s=0.5)
        return self
