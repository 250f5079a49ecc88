"""A hundred containers started at once: what the daemon costs Docker, and how long each container waits."""

import http.client
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.waiting import eventually

from .accounting import cpu_s
from .environment import await_attached, number_in, running_daemon
from .figures import Figure, Limit

SIZE = 100
DEADLINE_S = 300.0
TURN_S = 0.1
REST_S = 5.0


class _Api(http.client.HTTPConnection):
    """Docker's API, without the docker command: a hundred of these commands would dominate the measurement."""

    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=DEADLINE_S)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def measure_burst(machine: Machine, pairs: int) -> list[Figure]:
    """Measure bursts of the same containers with the daemon and without, in turn."""
    containers = Containers(machine)
    alone: list[float] = []
    watched: list[float] = []
    attached: list[float] = []
    slowest: list[float] = []
    processor: list[float] = []
    try:
        many = [containers.create() for _ in range(SIZE)]
        _burst(machine, many)  # not counted: only the first start differs
        for number in range(2 * pairs):
            if number % 4 in (0, 3):
                alone.append(_burst(machine, many))
                continue
            with running_daemon(machine, {}) as daemon:
                before_s = cpu_s([daemon.pid])
                watched.append(_burst(machine, many, daemon))
                processor.append((cpu_s([daemon.pid]) - before_s) / SIZE)
                each_s = _attach_seconds(daemon)
                attached += each_s
                slowest.append(max(each_s))
    finally:
        containers.remove_all()
    return [
        Figure(
            name="burst",
            what=f"{SIZE} containers started at once: until Docker has started them all, with the daemon",
            rival="the same burst without the daemon",
            unit="s",
            ours=watched,
            theirs=alone,
            direction="times the rival",
            limit=Limit(1.1, "below"),
            source="from the first request to Docker's API until the last is answered",
            details={"daemon_processor_s_per_container": processor},
        ),
        Figure(
            name="burst-attach",
            what="the same: Docker's start event → the last step, of each",
            rival=f"a limit of {TURN_S * 1000:g} ms",
            unit="s",
            ours=attached,
            theirs=[TURN_S] * len(attached),
            direction="times the rival",
            limit=Limit(1, "below"),
            source="after_s of the log lines container_attached",
            details={"later_than_the_limit": sum(each > TURN_S for each in attached)},
        ),
        Figure(
            name="burst-slowest",
            what="the same, of the slowest of each burst",
            rival=f"a limit of {TURN_S * 1000:g} ms",
            unit="s",
            ours=slowest,
            theirs=[TURN_S] * len(slowest),
            direction="times the rival",
            limit=Limit(1, "below"),
        ),
    ]


def _burst(machine: Machine, many: list[Container], daemon: Daemon | None = None) -> float:
    """Start them all and kill them; return how long Docker took to start them."""
    _await_rest(machine)
    began_s = time.perf_counter()
    _request_for_all(machine, many, "start")
    took_s = time.perf_counter() - began_s
    if daemon is not None:
        await_attached(daemon, SIZE)
    _request_for_all(machine, many, "kill")
    _request_for_all(machine, many, "wait?condition=not-running")
    if daemon is not None:
        await_attached(daemon, 0)
    return took_s


def _await_rest(machine: Machine) -> None:
    """Wait until the kernel has removed the networks of the last burst, for which it locks all networks."""
    devices = partial(machine.namespace.inside, socket.if_nameindex)
    eventually(lambda: not any(name.startswith("veth") for _, name in devices()), "the last networks go", DEADLINE_S)
    time.sleep(REST_S)


def _request_for_all(machine: Machine, many: list[Container], what: str) -> None:
    with ThreadPoolExecutor(len(many)) as threads:
        statuses = set(threads.map(lambda container: _request(machine, container, what), many))
    assert statuses <= {200, 204}, f"Docker answers {statuses} to {what}"


def _request(machine: Machine, container: Container, what: str) -> int:
    api = _Api(machine.dockerd.socket)
    try:
        api.request("POST", f"/containers/{container.id}/{what}")
        answer = api.getresponse()
        answer.read()
        return answer.status
    finally:
        api.close()


def _attach_seconds(daemon: Daemon) -> list[float]:
    return [number_in(line, "after_s") for line in daemon.log_lines() if line.get("event") == "container_attached"]
