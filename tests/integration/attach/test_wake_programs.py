"""The program that lets pass what wakes a guest, run by the kernel on single frames."""

import os
import random
import socket
import struct
from collections.abc import Iterator

import pytest

from supervisor.core.devices.wake_program import Wakers, build_wake_program

from .test_link_programs import ARP, BROADCAST, DROP, GUESTS_MAC, IP, IPV6, MAC, PASS, VLAN, Program

GUEST, OTHER = "172.17.0.2", "172.17.0.9"
GUEST6, OTHER6 = "2001:db8::2", "2001:db8::9"
SOLICITED_NODE = b"\x33\x33\xff\0\0\x02"
FIN, SYN, RST, ACK = 1, 2, 4, 16
ICMP, TCP, UDP, ICMP6, SCTP = 1, 6, 17, 58, 132


def ethernet(ethertype: int, payload: bytes, to: bytes = GUESTS_MAC) -> bytes:
    return to + MAC + struct.pack("!H", ethertype) + payload.ljust(46, b"\0")


def ip(protocol: int, payload: bytes, to: bytes = GUESTS_MAC, options: bytes = b"", fragment: int = 0) -> bytes:
    addresses = socket.inet_aton(OTHER) + socket.inet_aton(GUEST)
    length = 20 + len(options)
    head = struct.pack("!BBHHHBBH", 0x40 | length // 4, 0, length + len(payload), 1, fragment, 64, protocol, 0)
    return ethernet(IP, head + addresses + options + payload, to)


def ip6(protocol: int, payload: bytes, to: bytes = GUESTS_MAC) -> bytes:
    addresses = socket.inet_pton(socket.AF_INET6, OTHER6) + socket.inet_pton(socket.AF_INET6, GUEST6)
    return ethernet(IPV6, struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + addresses + payload, to)


def tcp(flags: int, source: int = 40000) -> bytes:
    return struct.pack("!HHIIBBHHH", source, 80, 1, 1, 5 << 4, flags, 1024, 0, 0)


def icmp(kind: int) -> bytes:
    return struct.pack("!BBHI", kind, 0, 0, 0)


def arp(target: str, operation: int = 1, to: bytes = BROADCAST) -> bytes:
    body = struct.pack("!HHBBH", 1, IP, 6, 4, operation) + MAC + socket.inet_aton(OTHER)
    return ethernet(ARP, body + bytes(6) + socket.inet_aton(target), to)


def solicitation(target: str, to: bytes = SOLICITED_NODE) -> bytes:
    return ip6(ICMP6, icmp(135) + socket.inet_pton(socket.AF_INET6, target), to)


UDP_HEAD = struct.pack("!HHHH", 40000, 53, 8, 0)
WAKES_ANY = {
    "ARP request for its address": arp(GUEST),
    "ARP request to it alone": arp(OTHER, to=GUESTS_MAC),
    "solicitation for its address": solicitation(GUEST6),
    "solicitation to it alone": solicitation(GUEST6, GUESTS_MAC),
    "TCP SYN": ip(TCP, tcp(SYN)),
    "TCP SYN behind IP options": ip(TCP, tcp(SYN), options=b"\x94\x04\0\0"),
    "TCP SYN over IPv6": ip6(TCP, tcp(SYN)),
    "UDP": ip(UDP, UDP_HEAD),
    "first fragment of UDP": ip(UDP, UDP_HEAD, fragment=0x2000),
    "UDP over IPv6": ip6(UDP, UDP_HEAD),
    "ICMP echo": ip(ICMP, icmp(8)),
    "ICMP echo over IPv6": ip6(ICMP6, icmp(128)),
}
WAKES_WITH_STATE = {
    "TCP SYN with ACK": ip(TCP, tcp(SYN | ACK)),
    "TCP data": ip(TCP, tcp(ACK)),
    "TCP FIN": ip(TCP, tcp(FIN | ACK)),
    "TCP RST": ip(TCP, tcp(RST)),
    "TCP RST over IPv6": ip6(TCP, tcp(RST)),
    "TCP ACK behind IP options": ip(TCP, tcp(ACK), options=b"\x94\x04\0\0"),
    "later fragment": ip(UDP, UDP_HEAD, fragment=0x2005),
    "ICMP answer": ip(ICMP, icmp(0)),
    "ICMP answer over IPv6": ip6(ICMP6, icmp(129)),
    "SCTP": ip(SCTP, bytes(12)),
}
WAKES_NONE = {
    "ARP request for another address": arp(OTHER),
    "ARP answer": arp(GUEST, operation=2),
    "ARP answer to it alone": arp(GUEST, operation=2, to=GUESTS_MAC),
    "solicitation for another address": solicitation(OTHER6),
    "broadcast UDP": ip(UDP, UDP_HEAD, to=BROADCAST),
    "multicast UDP": ip(UDP, UDP_HEAD, to=b"\1\0\x5e\0\0\xfb"),
    "multicast UDP over IPv6": ip6(UDP, UDP_HEAD, to=b"\x33\x33\0\0\0\xfb"),
    "router advertisement": ip6(ICMP6, icmp(134), to=b"\x33\x33\0\0\0\1"),
    "another protocol": ethernet(0x88CC, bytes(46)),
    "another VLAN": ethernet(VLAN, bytes(46)),
}


@pytest.fixture(scope="module")
def programs() -> Iterator[dict[bool, Program]]:
    """The programs for a guest whose state was kept, and for one whose state was not."""
    if os.geteuid() != 0:
        pytest.skip("needs root: BPF programs")
    loaded = {keeps: Program(build_wake_program(Wakers((GUEST, GUEST6), keeps))) for keeps in (True, False)}
    yield loaded
    for each in loaded.values():
        os.close(each.descriptor)


@pytest.mark.parametrize("name", WAKES_ANY)
def test_what_wakes_any_guest_passes(programs: dict[bool, Program], name: str) -> None:
    frame = WAKES_ANY[name]
    for program in programs.values():
        assert program.run(frame)[:2] == (PASS, frame)


@pytest.mark.parametrize("name", WAKES_WITH_STATE)
def test_what_belongs_to_an_old_flow_wakes_only_a_guest_that_knows_it(programs: dict[bool, Program], name: str) -> None:
    assert programs[True].run(WAKES_WITH_STATE[name])[0] == PASS
    assert programs[False].run(WAKES_WITH_STATE[name])[0] == DROP


@pytest.mark.parametrize("name", WAKES_NONE)
def test_what_is_for_others_does_not_wake(programs: dict[bool, Program], name: str) -> None:
    for program in programs.values():
        assert program.run(WAKES_NONE[name])[0] == DROP


def test_frame_that_ends_early_does_not_wake_and_breaks_nothing(programs: dict[bool, Program]) -> None:
    chance = random.Random(7)  # noqa: S311  # a test that repeats
    frames = [*WAKES_ANY.values(), *WAKES_WITH_STATE.values()]
    for _ in range(300):
        frame = chance.choice(frames)
        cut = frame[: chance.randrange(60 if frame[12:14] == b"\x86\xdd" else 40, len(frame) + 1)]
        for program in programs.values():
            assert program.run(cut)[0] in (PASS, DROP)
