"""The network between machines: a bridge in its own namespace, and a veth pair to each machine."""

from types import TracebackType

from tests.harness.machine import Machine, Reply, http_get
from tests.harness.netns import NetworkNamespace
from tests.harness.processes import run

PREFIX_LENGTH = 24
# No machine has a default route, so that Docker's attempts to reach a registry fail at once.
NETWORK = "10.99.0"
ANSWER_S = 10.0  # for a program in an emulated Linux, beside machines that boot


class Lan:
    """Use as a context manager; interfaces are removed with the namespaces of both ends."""

    def __init__(self) -> None:
        self.namespace = NetworkNamespace()

    def __enter__(self) -> "Lan":
        self._ip("link", "set", "lo", "up")
        self._ip("link", "add", "lan", "type", "bridge")
        self._ip("link", "set", "lan", "up")
        self._ip("address", "add", f"{NETWORK}.254/{PREFIX_LENGTH}", "dev", "lan")
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.namespace.close()

    def plug(self, machine: Machine, number: int) -> str:
        """Connect a machine, and return its address."""
        address, theirs = f"{NETWORK}.{number}", machine.namespace.fd
        cable = ("link", "add", f"node{number}", "master", "lan", "up", "type", "veth", "peer", "name", "lan0")
        self._ip(*cable, "netns", f"/proc/self/fd/{theirs}", fds=(theirs,))
        machine.run("ip", "address", "add", f"{address}/{PREFIX_LENGTH}", "dev", "lan0")
        machine.run("ip", "link", "set", "lan0", "up")
        return address

    def get(self, url: str) -> Reply:
        """Send a request from the network, but from no machine of the swarm. Every failure is an OSError."""
        return self.namespace.inside(lambda: http_get(url, ANSWER_S))

    def set_cable(self, number: int, *, connected: bool) -> None:
        self._ip("link", "set", f"node{number}", "up" if connected else "down")

    def _ip(self, *args: str, fds: tuple[int, ...] = ()) -> None:
        run(["nsenter", f"--net=/proc/self/fd/{self.namespace.fd}", "ip", *args], pass_fds=(self.namespace.fd, *fds))
