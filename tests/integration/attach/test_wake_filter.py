"""The filter on a real macvtap, its queue behind it, and the counter of what keeps a guest awake."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from supervisor.core.attach.actions import RemoveWakeFilter, SetWakeFilter
from supervisor.core.devices.wake_program import Wakers
from supervisor.core.links import DeviceNumber, IfIndex, Tap
from supervisor.edges.kernel import netns as namespaces
from supervisor.edges.kernel import tap as taps
from supervisor.edges.kernel.links import Links
from supervisor.edges.kernel.packet_counter import PacketCounter
from supervisor.errors import ContainerGone
from tests.harness.netns import NetworkNamespace
from tests.harness.processes import run
from tests.harness.waiting import eventually

from .test_link_programs import BROADCAST, GUESTS_MAC
from .test_wake_programs import FIN, SYN, TCP, UDP, UDP_HEAD, arp, ip, solicitation, tcp

NAME = "mt0"
WAKERS = Wakers(("172.17.0.2", "2001:db8::2"), keeps_state=False)


@dataclass
class Wire:
    """A macvtap, and the other end of the wire that its parent is on."""

    links: Links
    tap: Tap
    queue: int
    counter: PacketCounter
    outside: socket.socket

    def send(self, *frames: bytes) -> None:
        for each in frames:
            self.outside.send(each)

    def passed(self, frame: bytes) -> list[bytes]:
        """Send a frame until something passes, and return that. The kernel may delay or drop broadcasts."""

        def send() -> list[bytes]:
            self.send(frame)
            return self.waits()

        return eventually(send, "a frame passes")

    def waits(self) -> list[bytes]:
        """Return the frames that wait in the queue, without the header of virtio."""
        found = []
        while True:
            try:
                found.append(os.read(self.queue, 1 << 16)[10:])
            except BlockingIOError:
                return found


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces")
    with ExitStack() as owned:
        namespace = NetworkNamespace()
        owned.callback(namespace.close)

        def make() -> Wire:
            def ip_link(*words: str) -> None:
                run(["nsenter", f"--net=/proc/self/fd/{namespace.fd}", "ip", "link", *words], pass_fds=(namespace.fd,))

            ip_link("add", "h0", "type", "veth", "peer", "name", "c0")
            mac = GUESTS_MAC.hex(":")
            ip_link("add", "link", "c0", "name", NAME, "address", mac, "type", "macvtap", "mode", "bridge")
            for name in ("h0", "c0", NAME):
                ip_link("set", name, "up", "allmulticast", "on")
            handles = namespaces._open_handles()  # this thread is in the namespace
            owned.callback(os.close, handles.sysfs)
            index = IfIndex(socket.if_nametoindex(NAME))
            device = taps.observe_device(handles.sysfs, index)
            node = tmp_path / "tap"
            os.mknod(node, 0o600 | stat.S_IFCHR, os.makedev(device.major, device.minor))
            queue = os.open(node, os.O_RDWR | os.O_NONBLOCK)
            owned.callback(os.close, queue)
            links = Links(handles.netlink)
            owned.callback(links.close)
            counter = PacketCounter(NAME)
            owned.callback(counter.close)
            outside = owned.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
            outside.bind(("h0", 0))
            tap = Tap(NAME, index, mac, 1500, True, DeviceNumber(device.major, device.minor))
            return Wire(links, tap, queue, counter, outside)

        yield namespace.inside(make)


def test_filter_keeps_room_in_the_queue_for_what_wakes(wire: Wire) -> None:
    assert wire.links.observe_wake_filter(wire.tap.index) == ""
    name = wire.links.set_wake_filter(SetWakeFilter(wire.tap, WAKERS))
    assert wire.links.observe_wake_filter(wire.tap.index) == name
    wire.waits()
    syn = ip(TCP, tcp(SYN))
    wire.send(*[ip(UDP, UDP_HEAD, to=BROADCAST)] * 3000, ip(TCP, tcp(FIN)), arp("172.17.0.9"), syn)
    assert wire.waits() == [syn]
    assert arp("172.17.0.2") in wire.passed(arp("172.17.0.2"))


@pytest.mark.parametrize("linked", [True, False])
def test_all_packets_pass_once_the_filter_is_removed(wire: Wire, linked: bool) -> None:
    for wakers in (WAKERS, Wakers((), keeps_state=True)):  # the second one takes the first one's place
        name = wire.links.set_wake_filter(SetWakeFilter(wire.tap, wakers))
    assert wire.links.observe_wake_filter(wire.tap.index) == name
    for _ in range(2):
        wire.links.remove_wake_filter(RemoveWakeFilter(wire.tap, linked))
    assert wire.links.observe_wake_filter(wire.tap.index) == ""
    wire.waits()
    assert wire.passed(ip(TCP, tcp(FIN))) == [ip(TCP, tcp(FIN))]
    assert arp("172.17.0.9") in wire.passed(arp("172.17.0.9"))


def test_counter_counts_what_is_sent_to_one_host(wire: Wire) -> None:
    wire.counter.take()
    wire.send(arp("172.17.0.2"), ip(UDP, UDP_HEAD, to=BROADCAST), solicitation("2001:db8::2", GUESTS_MAC))
    assert wire.counter.take() == 0
    wire.send(*[ip(TCP, tcp(SYN))] * 100)
    assert wire.counter.take() == 100
    assert wire.counter.take() == 0
    os.write(wire.queue, bytes(10) + ip(UDP, UDP_HEAD, to=b"\2\0\0\0\0\7"))  # by the guest
    assert wire.counter.take() == 1


def test_counter_leaves_out_health_checks(wire: Wire) -> None:
    syn, other = ip(TCP, tcp(SYN, source=0xC123)), ip(TCP, tcp(SYN, source=0xC124))
    wire.counter.take()
    wire.counter.leave_out((0xC123, 0xC125))
    wire.send(syn, other, syn)
    assert wire.counter.take() == 1
    wire.counter.leave_out((0xC125,))
    wire.send(syn, other)
    assert wire.counter.take() == 2


def test_counter_needs_its_tap() -> None:
    with pytest.raises(ContainerGone, match="no-such"):
        PacketCounter("no-such")
