"""The real machine: Docker with its containers, a proxy in front of Docker, and one daemon after another."""

import shutil
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from tests.harness.containers import Container
from tests.harness.daemon import Daemon, Tables
from tests.harness.docker_proxy import DockerProxy
from tests.harness.machine import Machine, sweep
from tests.harness.observe import NETNS_FOLDER

from .model import ExpectedContainer

LOG_LINES = 400
STOP_S = 60.0


def config(proxy: DockerProxy) -> Tables:
    """Return a configuration with short delays, so that everything happens within a run and no crash is forgotten."""
    return {
        "docker": {"host": proxy.host},
        "attach": {"resync": "2s"},
        "guest": {"memory": "16M", "hang_after": "5s", "stop_timeout": "2s"},
        "restart": {"first": "100ms", "max": "1s", "steps": 4, "reset_after": "5s"},
    }


class Testbed:
    """The daemon, and the containers by number. The log of each daemon is kept."""

    def __init__(self, machine: Machine, proxy: DockerProxy) -> None:
        self.machine, self.proxy = machine, proxy
        self.daemon = Daemon(machine, config(proxy))
        self.containers: dict[int, Container] = {}
        self.daemon_starts = 0
        self._runs = False
        self.bugs: list[str] = []
        self.network = "soak"
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        machine.docker("network", "create", self.network)

    def create(self, expected: ExpectedContainer) -> None:
        labels = (
            {"restart": expected.restart, "on-exit": expected.on_exit, "kernel": "/hello.bin"} if expected.guest else {}
        )
        words = [word for name, value in labels.items() for word in ("--label", f"vtapd.{name}={value}")]
        policy = "unless-stopped" if expected.docker_restarts else "no"
        options = ("--name", f"soak{expected.number}", "--restart", policy, *words)
        made = self.machine.docker("run", "-d", *options, self.machine.image)
        self.machine.container_ids.add(made)
        self.containers[expected.number] = Container(self.machine, made, f"soak{expected.number}")

    def remove_all(self) -> None:
        self.machine.docker("rm", "-f", "-v", *(one.id for one in self.containers.values()), check=False)

    def address(self, expected: ExpectedContainer) -> str:
        """Return the address on Docker's first network; empty if the container does not run."""
        shown = "{{.NetworkSettings.Networks.bridge.IPAddress}}"
        return self.machine.docker("inspect", "-f", shown, self.containers[expected.number].id)

    def start_daemon(self) -> None:
        self.daemon_starts += 1
        self.daemon.start()
        self._runs = True

    def kill_daemon(self) -> None:
        self._runs = False
        self.daemon.kill()
        self._keep_log()

    def stop_daemon(self) -> None:
        self._runs = False
        status = self.daemon.stop()
        self._keep_log()
        assert status == 0, f"vtapd ended with {status}:\n{self.daemon.log_tail()}"

    @property
    def daemon_has_gone(self) -> bool:
        """Whether the daemon ended by itself, which it never should."""
        return self._runs and not self.daemon.is_running()

    def log_tail(self) -> str:
        """Return the last log lines of this daemon and of those before it."""
        now = self.daemon.log_tail(LOG_LINES).splitlines() if self._runs else []
        return "\n".join([*self._log, *now][-LOG_LINES:])

    def _keep_log(self) -> None:
        self._log.append(f"--- daemon {self.daemon_starts}")
        self._log.extend(self.daemon.log_tail(LOG_LINES).splitlines())
        self.bugs += self.daemon.bugs()


@contextmanager
def soak_testbed() -> Iterator[Testbed]:
    """Yield the test bed, and leave nothing behind in any case."""
    sweep()
    NETNS_FOLDER.mkdir(parents=True, exist_ok=True)
    machine = Machine()
    try:
        with machine:
            assert machine.image
            machine.dockerd.set_live_restore(True)
            proxy = DockerProxy(machine.home / "relay.sock", machine.dockerd.socket)
            proxy.open()
            testbed = Testbed(machine, proxy)
            try:
                yield testbed
            finally:
                if testbed.daemon.is_running():
                    testbed.daemon.stop()
                proxy.close()
    finally:
        for container_id in machine.container_ids:
            (NETNS_FOLDER / container_id[:12]).unlink(missing_ok=True)
        shutil.rmtree(machine.run_dir, ignore_errors=True)
