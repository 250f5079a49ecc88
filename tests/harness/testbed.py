"""Prepares containers for a daemon that is killed, and proves what must hold of them afterwards."""

import re
import threading
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from .chain import assert_attached
from .containers import Container, Containers
from .device_cgroup import make_node, may_open
from .footprint import await_nothing_left
from .killed_daemon import KillingDaemon, Snapshot, snapshot_of
from .machine import Machine
from .netns import inside_of
from .observe import Device, cgroup_lines, network, qemus_of
from .processes import open_files, run
from .tap_thief import Thief
from .waiting import CommandFailed, eventually

GUEST = {"kernel": "/hello.bin", "memory": "16M"}
SHARING = {"kernel": "/hello-osv.bin", "memory": "16M", "share.0": "/dev:ro"}
# Docker disables IPv6 in a container on a network without it; then no link of vtapd could ever get an address.
WITH_IPV6 = {"Sysctls": {f"net.ipv6.conf.{which}.disable_ipv6": "0" for which in ("all", "default")}}
PREFIX = "fd00:77::"
FORGOTTEN_S = 20.0
TRIES = 12
"""How often a test tries again because a tap of another test took the device number meant for its own."""


@dataclass
class Subject:
    """A container, and its state before the daemon saw it."""

    container: Container
    before: Snapshot
    qemu: int = 0
    """Its QEMU before the daemon was killed."""
    neighbour: Container | None = None
    """Another container, which had the device number before that this one's tap gets."""
    number: Device | None = None
    """That number, once it is free."""
    asked: threading.Thread | None = None
    """A docker command that is still running."""


class DaemonTestbed:
    """One view of cgroups, Docker's own network, and one daemon after another."""

    def __init__(self, machine: Machine, containers: Containers) -> None:
        self.machine, self.containers = machine, containers
        self.second = ""
        self.daemon = KillingDaemon(machine)
        self.daemon.start()
        self.idle_files = self.files()
        self.thief: Thief | None = None
        """It runs in the subject's neighbour."""

    def started(self, **labels: str) -> Subject:
        """Start a container that the daemon, which is paused, has not seen yet."""
        asked = {f"vtapd.{key.replace('_', '-')}": value for key, value in labels.items()}
        self.daemon.pause()
        container = self.containers.run_by_api(asked, HostConfig=WITH_IPV6)
        add_ipv6(container)
        return Subject(container, snapshot_of(container))

    def attached(self) -> Subject:
        subject = self.started()
        self.daemon.resume()
        subject.container.await_attached()
        return subject

    def next_to_a_thief(self) -> Subject:
        """Start a container that the daemon has not seen yet, and one with a process that always opens its own tap.

        The daemon does not hear when that tap is deleted.
        """
        self.daemon.set_deaf(True)
        neighbour = self.attached().container
        self.daemon.request("attach", neighbour.name)  # returns when the daemon is done with it
        self.thief = Thief(neighbour, neighbour.tap_device())
        subject = self.started()
        subject.neighbour = neighbour
        return subject

    def serving(self, **labels: str) -> Subject:
        subject = self.started(**GUEST | labels)
        self.daemon.resume()
        self.daemon.await_state(subject.container.name, "running")
        subject.container.await_page()
        subject.qemu = subject.container.qemu()
        return subject

    def self_configured(self) -> Subject:
        """Start a guest that takes further network cards while it runs."""
        subject = self.started(**GUEST, guest="raw", address="none")
        self.daemon.resume()
        self.daemon.await_state(subject.container.name, "running")
        subject.qemu = subject.container.qemu()
        return subject

    def connect(self, subject: Subject) -> None:
        """Connect it to a second network."""
        self.second = self.second or self.containers.network()
        self.machine.docker("network", "connect", self.second, subject.container.id)

    def prove_cards(self, subject: Subject, count: int) -> None:
        """Assert that the same QEMU has a card on each of this number of interfaces."""

        def has_them() -> bool:
            interfaces = self.daemon.inspect(subject.container.name).interfaces
            return len(interfaces) == count and all(each.in_guest for each in interfaces)

        eventually(has_them, f"{count} cards")
        assert subject.container.qemu() == subject.qemu

    def run_docker(self, subject: Subject, *words: str) -> None:
        """Start a docker command, and do not wait for its end."""
        subject.asked = threading.Thread(target=self.machine.docker, args=(*words, subject.container.id))
        subject.asked.start()

    def prove_attached(self, subject: Subject) -> None:
        container = subject.container
        self.daemon.await_state(container.name, "attached")
        assert_attached(container)
        assert may_open(container, "/dev/tap0")
        assert not network(container.pid, container.tap_name).addresses, "the host's side of the tap has an address"

    def prove_alone(self, subject: Subject) -> None:
        """Assert that it is attached, and its neighbour too, which can open only its own tap and has no other open."""
        self.prove_attached(subject)
        neighbour, device = subject.neighbour, subject.container.tap_device()
        assert neighbour is not None
        assert self.thief is not None
        eventually(lambda: neighbour.tap_device() != device, "the neighbour has a tap again")
        self.prove_attached(Subject(neighbour, subject.before))
        assert not self.is_disturbed(subject), "a tap of another test took the number: nothing is proven"
        loot = self.thief.end()
        assert subject.container.tap_name not in loot.alive
        assert subject.container.tap_name not in loot.frames
        make_node(neighbour, "/tmp/neighbours", device)
        assert not may_open(neighbour, "/tmp/neighbours")

    def prove_serves(self, subject: Subject) -> None:
        """Assert that the guest answers on its address, with exactly one QEMU, in the container's cgroup.

        The container's own processes reach it, too.
        """
        container = subject.container
        self.daemon.await_state(container.name, "running")
        container.await_page()
        assert "Hiya, Gump!" in container.fetch(container.address)
        assert cgroup_lines(container.qemu()) == cgroup_lines(container.pid)
        assert not network(container.pid, container.tap_name).addresses, "the host's side of the tap has an address"
        assert may_open(container, "/dev/tap0")

    def prove_detached(self, subject: Subject) -> None:
        """Assert that each address, route, node and rule of the container is as before the daemon saw it.

        The detach is requested again only if the killed daemon had not recorded it.
        """
        container = subject.container
        if not self.daemon.wants_detached(container):
            self.daemon.request("detach", container.name)
        self.daemon.await_state(container.name, "detached")
        eventually(lambda: _is_as_before(subject), "the container is as before")
        assert not qemus_of(container.id)

    def await_forgotten(self, subject: Subject) -> None:
        """Wait until the daemon has no record of the container's run, which has ended."""
        record = self.daemon.run_dir / f"{subject.container.id}.json"
        eventually(lambda: not record.exists(), "the run is forgotten", FORGOTTEN_S)

    def prove_nothing_left(self, subject: Subject) -> None:
        """Remove the container, and assert that nothing of it is left in the daemon or on the machine."""
        if subject.asked is not None:
            subject.asked.join()
        self.end_thief()
        for container in filter(None, (subject.container, subject.neighbour)):
            container.remove()
        await_nothing_left(self.machine, self.daemon)
        eventually(self._has_no_file_open, "the daemon has no file of it open")
        assert not self.daemon.bugs(), "\n".join(self.daemon.bugs())

    def _has_no_file_open(self) -> bool:
        files = self.files()
        assert files == self.idle_files, f"{files} but {self.idle_files} while idle"
        return True

    def files(self) -> list[str]:
        """Return the daemon's open files except sockets, of which it keeps a few to Docker for a while.

        Each daemon has namespaces of its own for QEMU, whose numbers differ.
        """
        files = (path for path in open_files(self.daemon.pid).values() if not path.startswith("socket:"))
        return sorted(re.sub(r":\[\d+\]", "", path) for path in files)

    def end_thief(self) -> None:
        self.daemon.set_deaf(False)
        if self.thief is not None:
            self.thief.kill()
            self.thief = None

    def is_disturbed(self, subject: Subject) -> bool:
        """Return True if a tap of another test took the number meant for this container's tap: nothing is proven.

        That this container's neighbour took it, or that it has no tap, is the product's doing.
        """
        mine = _device_of(subject.container)
        if subject.number is None or subject.neighbour is None or mine is None:
            return False
        return subject.number not in (mine, _device_of(subject.neighbour))

    def start_again(self) -> None:
        """Remove all containers and start another daemon, after a failure."""
        self.end_thief()
        self.daemon.kill()
        self.containers.remove_containers()
        self.daemon.start()
        await_nothing_left(self.machine, self.daemon)


def _is_as_before(subject: Subject) -> bool:
    now = snapshot_of(subject.container)
    assert now == subject.before, f"{now}\nbut before it was\n{subject.before}"
    return True


def add_ipv6(container: Container) -> None:
    """Give it an address and a route as those of a Docker network with IPv6, which would take three times as long."""
    address = PREFIX + container.address.rpartition(".")[2]
    lines = f"address add {address}/64 dev eth0 nodad\nroute add default via {PREFIX}1 dev eth0\n"
    inside_of(container.pid, lambda: run(["ip", "-6", "-batch", "-"], stdin=lines))
    to_itself = f"{int(ip_address(address)):032x} 80 "
    routes = Path(f"/proc/{container.pid}/net/ipv6_route")
    eventually(lambda: to_itself in routes.read_text(), "the kernel adds the route of the address, a moment later")


def _device_of(container: Container) -> Device | None:
    """Return the device number of its tap, or None if it has no tap."""
    try:
        return container.tap_device()
    except (LookupError, OSError, CommandFailed):
        return None
