"""A daemon that is killed at a named change, and a snapshot of what an attach changes in a container."""

import json
import os
import re
import signal
import subprocess
from dataclasses import dataclass, replace

from .containers import Container
from .daemon import Daemon
from .device_programs import DevicePrograms
from .killing_daemon import ACTION, END, deaf_file
from .machine import Machine
from .netns import inside_of
from .observe import Network, device_rules, links, network
from .processes import run
from .waiting import eventually

CONFIG = {"attach": {"resync": "10m"}}
"""No resync happens during a test, so all changes are those of the one container under test."""
LINK_LOCAL = r'"dst": "fe80:.*"table": "local"'
LINK_QUESTIONS = {
    "ip": ("address show dev lo", "neighbour show nud permanent dev eth0"),
    "tc": ("qdisc show dev eth0", "filter show dev eth0 ingress", "filter show dev eth0 egress"),
}
DIES_S = 20.0
BUILT_S = 30.0


class KillingDaemon(Daemon):
    """See killing_daemon.py. Until `kill_after` it is a usual daemon."""

    fork_server = "tests.harness.killing_daemon"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine, CONFIG)
        self._plan, self.trace = machine.home / "plan", machine.home / "trace"

    def arguments(self) -> list[str]:
        return [str(self._plan), str(self.trace), *super().arguments()]

    def close(self) -> None:
        if self.process is not None:
            self.kill()

    def start(self) -> Daemon:
        self._plan.write_text("")
        self.trace.write_text("")
        super().start()
        # The sandbox belongs to the daemon and ends with it, so building it is not counted as a change.
        eventually(lambda: self.has_logged("sandbox_built"), "the sandbox is built", BUILT_S)
        return self

    def has_logged(self, event: str) -> bool:
        return any(line.get("event") == event for line in self.log_lines())

    def kill_after(self, number: int, change: str) -> None:
        """Kill the daemon right after this number of changes of that name; 0 is right before the first."""
        os.truncate(self.trace, 0)
        self._plan.write_text(f"{number} {change}")

    def count(self) -> None:
        """Count all changes from now on."""
        self.kill_after(1, "no change is named so")

    def changes(self) -> list[str]:
        """Return the changes since `count`."""
        return self._traced(END)

    def actions(self) -> list[str]:
        """Return the actions of the plan since `count`."""
        return self._traced(ACTION)

    def _traced(self, kind: str) -> list[str]:
        return [line.removeprefix(kind) for line in self.trace.read_text().splitlines() if line.startswith(kind)]

    def wants_detached(self, container: Container) -> bool:
        """Return whether the container's record says that an operator has detached it."""
        found: bool = json.loads((self.run_dir / f"{container.id}.json").read_text())["detached"]
        return found

    def is_held(self, container: Container) -> bool:
        """Return whether the container's record says that an operator has stopped the guest."""
        found: bool = json.loads((self.run_dir / f"{container.id}.json").read_text())["held"]
        return found

    def is_to_sleep(self, container: Container) -> bool:
        """Return whether the container's record says that the guest is to fall asleep, or sleeps."""
        guest = json.loads((self.run_dir / f"{container.id}.json").read_text())["guest"]
        return guest["asleep"] is not None

    def await_killed(self) -> bool:
        """Return False if it did not kill itself in time: the planned change did not come."""
        assert self.process is not None
        try:
            status = self.process.wait(DIES_S)
        except subprocess.TimeoutExpired:
            return False
        assert status == -signal.SIGKILL, f"it should have killed itself, and ended with {status}:\n{self.log_tail()}"
        return True

    def set_deaf(self, is_deaf: bool) -> None:
        """Let it not hear, or hear again, which links are gone."""
        if is_deaf:
            deaf_file(self.trace).touch()
        else:
            deaf_file(self.trace).unlink(missing_ok=True)

    def pause(self) -> None:
        """Stop its process until `resume`."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


@dataclass(frozen=True)
class Snapshot:
    """Everything in a container that an attach changes."""

    links: frozenset[str]
    eth0: Network
    guest_link: str
    """What a private link adds: addresses of the loopback, hooks with their filters, and neighbours that stay."""
    dev: frozenset[str]
    rules: tuple[str, ...]
    programs: tuple[bytes, ...]


def guest_link(pid: int) -> str:
    def ask() -> list[str]:
        return [
            run([program, "-batch", "-"], stdin="".join(f"{line}\n" for line in lines)).stdout
            for program, lines in LINK_QUESTIONS.items()
        ]

    return "".join(inside_of(pid, ask))


def snapshot_of(container: Container) -> Snapshot:
    rules, eth0 = device_rules(container.pid), network(container.pid)
    return Snapshot(
        frozenset(links(container.pid)),
        # Without the route that the kernel adds a second or two later, when it has found no duplicate of the address.
        replace(eth0, routes=tuple(route for route in eth0.routes if not re.search(LINK_LOCAL, route))),
        guest_link(container.pid),
        frozenset(os.listdir(f"/proc/{container.pid}/root/dev")),  # noqa: PTH208  # names are wanted
        tuple(rules or ()),
        tuple(DevicePrograms(container.pid).all()) if rules is None else (),
    )
