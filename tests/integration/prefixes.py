"""A daemon that dies at a named change, and what of a container must be the same before and after all that."""

import json
import os
import re
import signal
import sys
import threading
from dataclasses import dataclass, replace

from .chain import assert_attached
from .containers import Container, Containers
from .control import ask
from .daemon import Daemon
from .device_programs import DevicePrograms
from .footprint import await_nothing_left
from .killing_daemon import ACTION, END
from .machine import Machine
from .observe import Network, cgroup_lines, device_rules, links, network, qemus_of
from .processes import open_files
from .views import InspectView, parse_inspect
from .waiting import eventually

CONFIG = {"attach": {"resync": "10m"}}
"""Nothing is looked at by the clock: all changes are those of the one container that is at work."""
GUEST = {"kernel": "/hello.bin", "memory": "16M"}
# As it is where Docker does not switch IPv6 off in a container; else no link of ours could ever get an address.
WITH_IPV6 = "--sysctl=net.ipv6.conf.default.disable_ipv6=0"
DUAL_STACK = ("--ipv6", "--subnet", "fd00:77::/64")
LINK_LOCAL = r'"dst": "fe80:.*"table": "local"'
DIES_S = 20.0


class KillingDaemon(Daemon):
    """See killing_daemon.py. Until `kill_after` it is any other daemon."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine, CONFIG)
        self._plan, self.trace = machine.home / "plan", machine.home / "trace"
        self.program = (sys.executable, "-m", "tests.integration.killing_daemon", str(self._plan), str(self.trace))

    def start(self) -> Daemon:
        self._plan.write_text("")
        self.trace.write_text("")
        return super().start()

    def kill_after(self, number: int, change: str) -> None:
        """The so-manieth change of that name from now on; 0 is before the first."""
        os.truncate(self.trace, 0)
        self._plan.write_text(f"{number} {change}")

    def count(self) -> None:
        """What it changes from now on."""
        self.kill_after(1, "no change is named so")

    def changes(self) -> list[str]:
        """Made since it was told to count them."""
        return self._traced(END)

    def actions(self) -> list[str]:
        """Decided upon since then."""
        return self._traced(ACTION)

    def _traced(self, kind: str) -> list[str]:
        return [line.removeprefix(kind) for line in self.trace.read_text().splitlines() if line.startswith(kind)]

    def inspect(self, name: str) -> InspectView:
        status, body = ask(self.control_socket, "GET", f"/containers/{name}")
        assert status == 200, body
        return parse_inspect(body)

    def order(self, verb: str, container: Container) -> None:
        """What `vtapd detach` and `vtapd attach` do. Raises OSError when the daemon ends first."""
        status, body = ask(self.control_socket, "POST", f"/containers/{container.name}/{verb}")
        assert status == 200, body

    def wants_detached(self, container: Container) -> bool:
        """By its record: whether an operator's wish has reached the disk."""
        found: bool = json.loads((self.run_dir / f"{container.id}.json").read_text())["detached"]
        return found

    def await_killed(self) -> None:
        assert self.process is not None
        status = self.process.wait(DIES_S)
        assert status == -signal.SIGKILL, f"it was to kill itself, and ended with {status}:\n{self.log_tail()}"

    def hold(self) -> None:
        """It sees nothing of what happens before `go_on`."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


@dataclass(frozen=True)
class Insides:
    """All of a container that an attachment changes."""

    links: frozenset[str]
    eth0: Network
    dev: frozenset[str]
    rules: tuple[str, ...]
    programs: tuple[bytes, ...]


def insides(container: Container) -> Insides:
    rules, eth0 = device_rules(container.pid), network(container.pid)
    return Insides(
        frozenset(links(container.pid)),
        # But the one route that the kernel adds a second or two later, when it has found no duplicate of the address.
        replace(eth0, routes=tuple(route for route in eth0.routes if not re.search(LINK_LOCAL, route))),
        frozenset(os.listdir(f"/proc/{container.pid}/root/dev")),  # noqa: PTH208  # names are wanted
        tuple(rules or ()),
        tuple(DevicePrograms(container.pid).all()) if rules is None else (),
    )


@dataclass
class Stage:
    """A container at work on, as it was before the daemon saw it."""

    container: Container
    before: Insides
    qemu: int = 0
    """Its QEMU before the daemon was killed."""
    asked: threading.Thread | None = None
    """Docker, about something that takes its time."""


class Bench:
    """One view of cgroups, one network with both families, one daemon after another."""

    def __init__(self, machine: Machine, containers: Containers) -> None:
        self.machine, self.containers = machine, containers
        self.network = containers.network(*DUAL_STACK)
        self.daemon = KillingDaemon(machine)
        self.daemon.start()
        self.idle_files = self.files()

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

    def serving(self, **labels: str) -> Stage:
        stage = self.started(**GUEST | labels)
        self.daemon.go_on()
        self.daemon.await_state(stage.container.name, "running")
        stage.container.await_page()
        stage.qemu = stage.container.qemu()
        return stage

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
        stage.container.remove()
        await_nothing_left(self.machine, self.daemon)
        eventually(lambda: self.files() == self.idle_files, "the daemon has nothing of it open either")
        assert not self.daemon.bugs(), "\n".join(self.daemon.bugs())

    def files(self) -> list[str]:
        """What the daemon has open but for sockets, of which it keeps a few towards Docker for a while."""
        return sorted(path for path in open_files(self.daemon.pid).values() if not path.startswith("socket:"))

    def start_again(self) -> None:
        """After a failure: a machine without containers, and another daemon."""
        self.daemon.kill()
        self.containers.remove_containers()
        self.daemon.start()
        await_nothing_left(self.machine, self.daemon)
