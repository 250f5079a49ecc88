"""A daemon that dies at a named change, and what of a container must be the same before and after all that."""

import json
import os
import re
import signal
import sys
from dataclasses import dataclass, replace

from .containers import Container
from .control import ask
from .daemon import Daemon, format_toml
from .device_programs import DevicePrograms
from .fork_server import ForkServer
from .killing_daemon import ACTION, END
from .machine import Machine
from .observe import Network, device_rules, links, network
from .processes import Process
from .waiting import eventually

CONFIG = {"attach": {"resync": "10m"}}
"""Nothing is looked at by the clock: all changes are those of the one container that is at work."""
LINK_LOCAL = r'"dst": "fe80:.*"table": "local"'
DIES_S = 30.0
BUILT_S = 30.0


class KillingDaemon(Daemon):
    """See killing_daemon.py. Until `kill_after` it is any other daemon, except that it is forked."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine, CONFIG)
        self._plan, self.trace = machine.home / "plan", machine.home / "trace"
        self.program = (sys.executable, "-m", "tests.harness.killing_daemon", str(self._plan), str(self.trace))
        self._server: ForkServer | None = None

    def launch(self) -> Process:
        self.config_file.write_text(format_toml(self.config))
        if self._server is None:
            self._server = ForkServer(self.argv(), self.source, self.env(), (self.machine.namespace.fd,))
        self.process = self._server.fork(self.log_file)
        return self.process

    def close(self) -> None:
        if self.process is not None:
            self.kill()
        if self._server is not None:
            self._server.close()

    def start(self) -> Daemon:
        self._plan.write_text("")
        self.trace.write_text("")
        super().start()
        # It is the daemon's own, and goes with it: building it is no change to be counted.
        eventually(lambda: self.has_logged("sandbox_built"), "QEMU has a file system of its own", BUILT_S)
        return self

    def has_logged(self, event: str) -> bool:
        return any(line.get("event") == event for line in self.log_lines())

    def kill_after(self, number: int, change: str) -> None:
        """Right after so many changes of that name from now on; 0 is right before the first."""
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

    def order(self, verb: str, container: Container) -> None:
        """What `vtapd detach`, `attach`, `stop` and `start` do. Raises OSError when the daemon ends first."""
        status, body = ask(self.control_socket, "POST", f"/containers/{container.name}/{verb}")
        assert status == 200, body

    def wants_detached(self, container: Container) -> bool:
        """By its record: whether an operator's wish has reached the disk."""
        found: bool = json.loads((self.run_dir / f"{container.id}.json").read_text())["detached"]
        return found

    def holds(self, container: Container) -> bool:
        """The same of a guest that is to be stopped."""
        found: bool = json.loads((self.run_dir / f"{container.id}.json").read_text())["held"]
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
