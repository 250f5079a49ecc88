"""What the private link adds to an attach: the time of its steps, on a pair of links in a namespace of its own."""

import socket
import time
from contextlib import closing

from supervisor.core.attach.actions import ClosePrivateLink, OpenPrivateLink
from supervisor.core.links import DeviceNumber, Hooks, Tap
from supervisor.edges.kernel.links import Links
from tests.harness.machine import Machine
from tests.harness.netns import NetworkNamespace
from tests.harness.processes import run

from .figures import Figure, Limit

ADDRESS, GUEST = "169.254.118.1", "10.0.0.2/24"
LIMIT_S = 0.001
WARM_UP = 5
SET_UP = (
    "link set lo up",
    "link add eth0 type veth peer name peer0",
    "link set eth0 up",
    f"address add {GUEST} dev eth0",
    "link add link eth0 name vtap0 type macvtap mode bridge",
    "link set vtap0 up",
)


def measure_private_link(_machine: Machine, repetitions: int) -> list[Figure]:
    with closing(NetworkNamespace()) as namespace:
        for words in SET_UP:
            argv = ["nsenter", f"--net=/proc/self/fd/{namespace.fd}", "ip", *words.split()]
            run(argv, pass_fds=(namespace.fd,))
        netlink = namespace.inside(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE))
        with closing(Links(netlink.detach())) as links:
            took_s = [_measure(links) for _ in range(WARM_UP + repetitions)][WARM_UP:]
    return [
        Figure(
            name="attach-link",
            what="what the private link adds to an attach: its hooks are looked at, and all of it is made",
            rival=f"a limit of {LIMIT_S * 1000:g} ms",
            unit="s",
            ours=took_s,
            theirs=[LIMIT_S] * repetitions,
            direction="times the rival",
            limit=Limit(1, "below"),
            source="the calls of the daemon's own code, in a namespace with a veth and a macvtap",
        )
    ]


def _measure(links: Links) -> float:
    """Return how long a link takes, and remove it."""
    network = links.observe(with_routes=True, now_s=0.0)
    interface = next(each for each in network.interfaces if each.name == "eth0")
    made = next(each for each in network.links if each.name == "vtap0")
    tap = Tap(made.name, made.index, made.mac, made.mtu, up=True, device=DeviceNumber(0, 0))
    began_s = time.perf_counter()
    hooks = links.observe_hooks(interface.index, tap.index)
    assert hooks == Hooks()
    links.open_private_link(OpenPrivateLink(interface, interface, tap, hooks, ADDRESS))
    took_s = time.perf_counter() - began_s
    links.close_private_link(ClosePrivateLink(interface, tap, ADDRESS, own_clsact=True))
    return took_s
