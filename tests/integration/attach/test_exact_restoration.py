"""What a takeover takes from an interface comes back as `ip` showed it, whatever an operator had put there.

The edges and the plan do it with a real kernel, in a network namespace, and `ip` is asked before and afterwards.
"""

import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor.core.attach.actions import GiveBack
from supervisor.core.attach.state import Seen, SeenInterface
from supervisor.core.attach.withdrawal import give_back_action
from supervisor.core.container import ContainerId, Incarnation, Pid
from supervisor.core.links import Interface
from supervisor.core.record import Record, TapRecord
from supervisor.edges.kernel.links import Links
from tests.harness.netns import NetworkNamespace
from tests.harness.waiting import eventually

NOW_S = 1000.0
NAMES = ("eth0", "eth1")
SETUP = (
    "link set lo up",
    "link add eth0 address 02:00:00:00:00:01 type veth peer name lan0",
    "link add eth1 address 02:00:00:00:00:02 type veth peer name lan1",
    *(f"link set {link} addrgenmode none up" for link in ("lan0", "lan1", "eth0", "eth1")),
    "address add 172.17.0.2/16 brd + dev eth0",
    "address add 172.18.0.2/16 brd + dev eth1",
    "-6 address add fd00:17::2/64 dev eth0 nodad",
    "-6 address add fd00:18::2/64 dev eth1 nodad",
    "-6 address add fe80::17/64 dev eth0 nodad",
    "-6 address add fe80::18/64 dev eth1 nodad",
)
DOCKERS = ("route add default via 172.17.0.1 dev eth0", "-6 route add default via fd00:17::1 dev eth0")
"""Docker's own routes."""
ADDRESSES = (
    "address add 10.1.0.1 peer 10.1.0.2/32 dev eth0",
    "address add 10.1.0.1 peer 10.1.0.3/32 dev eth0",
    "address add 10.2.0.1/24 peer 10.2.0.9/24 dev eth1",
    "-6 address add fd01::1 peer fd01::2/128 dev eth0 nodad",
    "address add 10.3.0.1/24 brd + dev eth0 label eth0:web",
    "address add 10.3.0.2/24 brd + dev eth0 label eth0:two",
    "address add 10.3.0.1/16 dev eth0",
    "address add 10.4.0.1/24 dev eth0 metric 77",
    "-6 address add fd04::1/64 dev eth0 metric 77 nodad",
    "address add 10.5.0.1/24 dev eth0 noprefixroute",
    "-6 address add fd05::1/64 dev eth0 noprefixroute nodad",
    "address add 10.6.0.1/24 dev eth0 scope link",
    "address add 10.6.1.1/24 dev eth1 scope host",
    "address add 10.7.0.1/24 dev eth0 valid_lft 3000 preferred_lft 2000",
    "-6 address add fd07::1/64 dev eth0 valid_lft 3000 preferred_lft 0 nodad",
    "-6 address add fd08::1/64 dev eth0 preferred_lft 0 nodad",
    "-6 address add fd09::1/64 dev eth0 home nodad",
    "-6 address add fd0b::1/64 dev eth0 proto 33 nodad",
    "address add 10.8.0.1/24 dev eth0 proto 33",
    "address add 10.9.0.1/24 anycast 10.9.0.255 dev eth0",
)
ROUTES = (
    "route add 10.20.0.0/16 via 172.17.0.3 dev eth0 mtu 1400 advmss 1300 window 4000 rtt 200ms rto_min 50ms",
    "route add 10.20.1.0/24 via 172.17.0.3 dev eth0 mtu lock 1300 initcwnd 20 initrwnd 20 quickack 1 hoplimit 9",
    "route add 10.20.2.0/24 via 172.17.0.3 dev eth0 congctl reno features ecn cwnd 7 ssthresh 9 reordering 5",
    "route add 10.21.0.0/16 nexthop via 172.17.0.3 dev eth0 weight 3 nexthop via 172.17.0.4 dev eth0 weight 5",
    "route add 10.21.1.0/24 nexthop via 172.17.0.3 dev eth0 nexthop via 172.18.0.3 dev eth1 weight 2",
    "-6 route add fd20::/32 nexthop via fd00:17::3 dev eth0 weight 3 nexthop via fd00:18::3 dev eth1",
    "-6 route add fd21::/32 via fd00:17::3 dev eth0 src fd00:17::2 mtu 1400 pref high",
    "-6 route add fd21:1::/32 via fd00:17::3 dev eth0 expires 3000",
    "route add 10.22.0.0/16 via inet6 fe80::9 dev eth0",
    "route add 10.22.1.0/24 nexthop via inet6 fe80::9 dev eth0 nexthop via 172.17.0.3 dev eth0",
    "route add 10.23.0.0/16 via 192.0.2.1 dev eth0 onlink",
    "-6 route add fd23::/32 via fd99::1 dev eth0 onlink",
    "route add 10.24.0.0/16 dev eth0 src 172.17.0.2 scope link proto static",
    "route add 10.24.1.0/24 via 172.18.0.3 dev eth1 src 172.17.0.2",
    "route add 10.24.2.0/24 via 172.17.0.3 dev eth0 tos 0x10 metric 9",
    "route add 10.24.2.0/24 via 172.17.0.4 dev eth0 tos 0x08 metric 9",
    "route add 10.25.0.0/16 via 172.17.0.3 dev eth0 table 100 proto 77 realm 5",
    "route add 10.25.1.0/24 via 172.17.0.3 dev eth0 table 100000",
    "route append 10.26.0.0/16 via 172.17.0.3 dev eth0",
    "route append 10.26.0.0/16 via 172.17.0.4 dev eth0",
    "route append 10.26.0.0/16 via 172.18.0.4 dev eth1",
    "route add local 10.27.0.0/16 dev eth0",
    "route add broadcast 10.27.1.255 dev eth0 table local",
    "route add multicast 233.0.0.0/8 dev eth0",
    "route add default via 172.18.0.1 dev eth1 metric 50",
    "-6 route add default via fe80::1 dev eth1 metric 50",
    "route add 10.28.0.1 dev eth0 scope link",
    "route add 10.29.0.0/16 via 10.28.0.1 dev eth0",
    "route add 10.30.0.0/16 encap ip id 7 dst 10.0.0.7 dev eth0",
    "route add 10.31.0.0/16 via 172.17.0.3 dev eth0 ttl-propagate enabled",
)
NEXTHOPS = (
    "nexthop add id 5 via 172.17.0.5 dev eth0",
    "route add 10.40.0.0/16 nhid 5",
    "nexthop add id 6 via fd00:17::5 dev eth0",
    "-6 route add fd40::/32 nhid 6",
)
NEIGHBOURS = (
    "neigh add 172.17.0.7 lladdr 02:00:00:00:07:01 dev eth0 nud permanent",
    "neigh add 172.17.0.8 lladdr 02:00:00:00:07:02 dev eth0 nud noarp",
    "-6 neigh add fd00:17::7 lladdr 02:00:00:00:07:03 dev eth0 nud permanent router",
    "neigh add proxy 172.17.0.9 dev eth0",
)
RULES = ("rule add from 172.17.0.2 table 100", "rule add oif eth0 table 101", "-6 rule add from fd00:17::2 table 100")
EVERYTHING = (*DOCKERS, *ADDRESSES, *ROUTES, *NEXTHOPS, *NEIGHBOURS, *RULES)
QUESTIONS = (
    "-d -o address show dev eth0",
    "-d -o address show dev eth1",
    "-d -o -4 route show table all",
    "-d -o -6 route show table all",
    "neigh show nud permanent",
    "neigh show nud noarp",
    "neigh show proxy",
    "nexthop show",
    "rule show",
    "-6 rule show",
)
_PASSING = re.compile(r"(valid_lft|preferred_lft|expires) \d+sec")
_LEARNED = re.compile(r"lladdr (33:33|01:00:5e)")
"""The kernel makes such entries when it sends to a group."""


class Scene:
    """A namespace with two interfaces."""

    def __init__(self) -> None:
        self._namespace = NetworkNamespace()
        self._entered = ["nsenter", f"--net=/proc/self/fd/{self._namespace.fd}", "ip"]
        self._links = Links(self._namespace.inside(open_rtnetlink))
        self.ip(*SETUP)
        self.await_settled()

    def await_settled(self) -> None:
        """Wait for the routes of IPv6 addresses, which the kernel makes a moment later than these."""
        eventually(self._is_settled, "the links have a carrier, and all addresses their routes")

    def _is_settled(self) -> bool:
        shown, routes = self._ask("-o -6 address show"), self._ask("-6 route show table local")
        own = [ip for ip in re.findall(r"inet6 ([0-9a-f:]+)", shown) if ip != "::1"]
        return "tentative" not in shown and all(f"local {ip} dev" in routes for ip in own)

    def close(self) -> None:
        self._links.close()
        self._namespace.close()

    def ip(self, *commands: str, check: bool = True) -> None:
        """Run commands of ip(8). Without `check`, those that this kernel or version refuses are left out."""
        force = [] if check else ["-force"]
        for version in ("-4", "-6"):
            asked = [line for line in commands if line.startswith("-6 ") == (version == "-6")]
            text = "\n".join(line.removeprefix("-6 ") for line in asked)
            options = [version, *force] if version == "-6" else force
            subprocess.run(
                [*self._entered, *options, "-batch", "-"],
                input=text,
                capture_output=True,
                text=True,
                pass_fds=(self._namespace.fd,),
                check=check,
            )

    def shown(self) -> list[str]:
        """Return all that ip(8) shows, with the rest of lifetimes left out."""
        found = []
        for question in QUESTIONS:
            answer = [line.rstrip().replace("tentative ", "") for line in self._ask(question).splitlines()]
            lines = [_PASSING.sub(r"\1", line) for line in answer if not _LEARNED.search(line)]
            found += [question, *(lines if "address" in question or "-4" in question else sorted(lines))]
        return found

    def _ask(self, question: str) -> str:
        argv = [*self._entered, *question.split()]
        return subprocess.run(argv, capture_output=True, text=True, pass_fds=(self._namespace.fd,), check=True).stdout

    def observe(self) -> dict[str, Interface]:
        found = self._links.observe(with_routes=True, now_s=NOW_S).interfaces
        return {each.name: each for each in found if each.name in NAMES}

    def take(self, interface: Interface) -> None:
        for address in interface.addresses:
            self._links.remove_address(interface.index, address)
        self._links.set_mac(interface.index, "02:00:00:00:00:99")
        left = self.observe()[interface.name]
        assert left.addresses == ()

    def give_back(self, record: Record) -> None:
        """Follow the plan until nothing is left to give back, in the order in which the record has the interfaces."""
        for name in [entry.interface for entry in record.taps]:
            for _ in range(2):
                seen = Seen(record.incarnation, interfaces=tuple(map(SeenInterface, self.observe().values())))
                entry = record.tap_of(name)
                assert entry is not None
                action = give_back_action(seen, record, entry)
                if not isinstance(action, GiveBack):
                    break
                index = action.original.index
                self._links.set_mac(index, action.original.mac)
                self._links.restore_addresses(index, action.original, NOW_S)
                self._links.restore_routes(index, action.original, action.later, NOW_S)
                self._links.restore_neighbours(index, action.original)
            else:
                pytest.fail(f"{name} is not back: {self.observe()[name]} instead of {record.tap_of(name)}")
            taps = tuple(replace(each, original=None) if each.interface == name else each for each in record.taps)
            record = replace(record, taps=taps)


def open_rtnetlink() -> int:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE).detach()


def record_of(originals: Sequence[Interface]) -> Record:
    """The record, as the next daemon reads it."""
    taps = tuple(TapRecord(slot, each.name, f"vtap{slot}", None, each) for slot, each in enumerate(originals))
    record = Record(ContainerId("c" * 64), "web", Incarnation(Pid(1), 1), taps)
    return msgspec.json.decode(msgspec.json.encode(record), type=Record)


def round_trip(scene: Scene, taken: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return what was shown before and afterwards."""
    scene.await_settled()
    before, interfaces = scene.shown(), scene.observe()
    record = record_of([interfaces[name] for name in taken])
    for name in taken:
        scene.take(interfaces[name])
    scene.give_back(record)
    scene.await_settled()
    after = scene.shown()
    return before, after


@pytest.fixture
def scene() -> Iterator[Scene]:
    with closing(Scene()) as made:
        yield made


@pytest.mark.parametrize("taken", [NAMES, NAMES[::-1], NAMES[:1], NAMES[1:]])
def test_everything_at_once_is_restored(scene: Scene, taken: Sequence[str]) -> None:
    scene.ip(*EVERYTHING, check=False)
    before, after = round_trip(scene, taken)
    assert after == before


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.sampled_from(EVERYTHING), max_size=12, unique=True), st.sampled_from([NAMES, NAMES[::-1], ("eth0",)])
)
def test_anything_is_restored(commands: list[str], taken: Sequence[str]) -> None:
    with closing(Scene()) as scene:
        scene.ip(*commands, check=False)
        before, after = round_trip(scene, taken)
        assert after == before
