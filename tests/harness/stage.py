"""Where containers are brought before a daemon, and what must be true of them whatever became of it."""

import threading
from dataclasses import dataclass

from .chain import assert_attached
from .containers import Container, Containers
from .doomed import Insides, KillingDaemon, insides
from .footprint import await_nothing_left
from .machine import Machine
from .observe import cgroup_lines, network, qemus_of
from .processes import open_files
from .tap_thief import Thief
from .waiting import eventually

GUEST = {"kernel": "/hello.bin", "memory": "16M"}
# As it is where Docker does not switch IPv6 off in a container; else no link of ours could ever get an address.
WITH_IPV6 = "--sysctl=net.ipv6.conf.default.disable_ipv6=0"
DUAL_STACK = ("--ipv6", "--subnet", "fd00:77::/64")


@dataclass
class Stage:
    """A container at work on, as it was before the daemon saw it."""

    container: Container
    before: Insides
    qemu: int = 0
    """Its QEMU before the daemon was killed."""
    neighbour: Container | None = None
    """Another container, which once had the device number that this one's tap gets."""
    asked: threading.Thread | None = None
    """Docker, about something that takes its time."""


class Bench:
    """One view of cgroups, one network with both families, one daemon after another."""

    def __init__(self, machine: Machine, containers: Containers) -> None:
        self.machine, self.containers = machine, containers
        self.network = containers.network(*DUAL_STACK)
        self.second = ""
        self.daemon = KillingDaemon(machine)
        self.daemon.start()
        self.idle_files = self.files()
        self.thief: Thief | None = None
        """In the neighbour of the stage."""

    def started(self, **labels: str) -> Stage:
        """A container that the daemon, which is held, has not seen yet."""
        asked = {f"vtapd.{key.replace('_', '-')}": value for key, value in labels.items()}
        self.daemon.hold()
        container = self.containers.run("--network", self.network, WITH_IPV6, labels=asked)
        return Stage(container, insides(container))

    def attached(self) -> Stage:
        stage = self.started()
        self.daemon.go_on()
        stage.container.await_attached()
        return stage

    def beside_a_thief(self) -> Stage:
        """A container that the daemon has not seen yet, and one with a process that opens its own tap all the time."""
        neighbour = self.attached().container
        self.daemon.order("attach", neighbour)  # returns when it is not looked at any more
        self.thief = Thief(neighbour, neighbour.tap_device())
        stage = self.started()
        stage.neighbour = neighbour
        return stage

    def serving(self, **labels: str) -> Stage:
        stage = self.started(**GUEST | labels)
        self.daemon.go_on()
        self.daemon.await_state(stage.container.name, "running")
        stage.container.await_page()
        stage.qemu = stage.container.qemu()
        return stage

    def caring_for_itself(self) -> Stage:
        """A guest that takes further network cards while it runs."""
        stage = self.started(**GUEST, guest="raw", address="none")
        self.daemon.go_on()
        self.daemon.await_state(stage.container.name, "running")
        stage.qemu = stage.container.qemu()
        return stage

    def connect(self, stage: Stage) -> None:
        """To a second network."""
        self.second = self.second or self.containers.network()
        self.machine.docker("network", "connect", self.second, stage.container.id)

    def prove_cards(self, stage: Stage, count: int) -> None:
        """The same QEMU has a card on each of so many interfaces."""

        def has_them() -> bool:
            interfaces = self.daemon.inspect(stage.container.name).interfaces
            return len(interfaces) == count and all(each.in_guest for each in interfaces)

        eventually(has_them, f"{count} cards")
        assert stage.container.qemu() == stage.qemu

    def ask_docker(self, stage: Stage, *words: str) -> None:
        """And go on before it has done so."""
        stage.asked = threading.Thread(target=self.machine.docker, args=(*words, stage.container.id))
        stage.asked.start()

    def prove_attached(self, stage: Stage) -> None:
        container = stage.container
        self.daemon.await_state(container.name, "attached")
        assert_attached(container)
        assert container.opens("/dev/tap0")
        assert not network(container.pid, container.tap_name).addresses, "the host's side of a tap has none of its own"

    def prove_alone(self, stage: Stage) -> None:
        """It is attached, and so is its neighbour, which can open no tap but its own and has no other open."""
        self.prove_attached(stage)
        neighbour, device = stage.neighbour, stage.container.tap_device()
        assert neighbour is not None
        assert self.thief is not None
        eventually(lambda: neighbour.tap_device() != device, "the neighbour has a tap again")
        self.prove_attached(Stage(neighbour, stage.before))
        loot = self.thief.end()
        assert stage.container.tap_name not in loot.alive
        assert stage.container.tap_name not in loot.frames
        neighbour.exec("mknod", "/tmp/neighbours", "c", *map(str, device))
        assert not neighbour.opens("/tmp/neighbours")

    def prove_serves(self, stage: Stage) -> None:
        """On its address, with exactly one QEMU, which is where it belongs."""
        container = stage.container
        self.daemon.await_state(container.name, "running")
        container.await_page()
        assert cgroup_lines(container.qemu()) == cgroup_lines(container.pid)
        assert not network(container.pid, container.tap_name).addresses, "the host's side of a tap has none of its own"
        assert container.opens("/dev/tap0")

    def prove_detached(self, stage: Stage) -> None:
        """The container is to the last address, route, node and rule what it was before the daemon saw it.

        If that was asked for before the daemon was killed, and noted, nobody asks again.
        """
        container = stage.container
        if not self.daemon.wants_detached(container):
            self.daemon.order("detach", container)
        self.daemon.await_state(container.name, "detached")
        eventually(lambda: insides(container) == stage.before, "its inside is what it was")
        assert not qemus_of(container.id)

    def prove_nothing_left(self, stage: Stage) -> None:
        """The container removed, the daemon holds and the machine shows nothing of it."""
        if stage.asked is not None:
            stage.asked.join()
        self.end_thief()
        for container in filter(None, (stage.container, stage.neighbour)):
            container.remove()
        await_nothing_left(self.machine, self.daemon)
        eventually(lambda: self.files() == self.idle_files, "the daemon has nothing of it open either")
        assert not self.daemon.bugs(), "\n".join(self.daemon.bugs())

    def files(self) -> list[str]:
        """What the daemon has open but for sockets, of which it keeps a few towards Docker for a while."""
        return sorted(path for path in open_files(self.daemon.pid).values() if not path.startswith("socket:"))

    def end_thief(self) -> None:
        if self.thief is not None:
            self.thief.kill()
            self.thief = None

    def start_again(self) -> None:
        """After a failure: a machine without containers, and another daemon."""
        self.end_thief()
        self.daemon.kill()
        self.containers.remove_containers()
        self.daemon.start()
        await_nothing_left(self.machine, self.daemon)
