"""The filter of what keeps a guest awake. The kernel runs it in tests/integration/attach/test_wake_filter.py."""

import struct

import pytest

from supervisor.core.devices.idle_filter import build_idle_filter

IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
PROBE, OTHER = 0xC123, 0xC124
MOST = [PROBE, *range(63)]


def takes(frame: bytes, probes: list[int]) -> bool:
    """Run the classic filter on a frame."""
    code: list[tuple[int, int, int, int]] = list(struct.iter_unpack("=HBBI", build_idle_filter(probes)))
    a, x, at = 0, 0, 0
    while True:
        op, yes, no, k = code[at]
        at += 1
        match op:
            case 0x30:
                a = frame[k]
            case 0x28:
                a = int.from_bytes(frame[k : k + 2], "big")
            case 0x48:
                a = int.from_bytes(frame[x + k : x + k + 2], "big")
            case 0x01:
                x = k
            case 0xB1:
                x = 4 * (frame[k] & 0xF)
            case 0x05:
                at += k
            case 0x06:
                return k > 0
            case _:
                holds = {0x15: a == k, 0x25: a > k, 0x35: a >= k, 0x45: bool(a & k)}[op]
                at += yes if holds else no


def ethernet(destination: int, ethertype: int, rest: bytes) -> bytes:
    return bytes([destination]) + bytes(11) + ethertype.to_bytes(2, "big") + rest


def ipv4(protocol: int, message: bytes = bytes(8), options: int = 0, to: int = 2) -> bytes:
    header = bytes([0x45 + options]) + bytes(8) + bytes([protocol]) + bytes(10 + 4 * options)
    return ethernet(to, IPV4, header + message)


def ipv6(protocol: int, message: bytes = bytes(8), to: int = 2) -> bytes:
    return ethernet(to, IPV6, bytes(6) + bytes([protocol]) + bytes(33) + message)


def ports(source: int, destination: int) -> bytes:
    return struct.pack("!HH4x", source, destination)


def icmp(kind: int, identifier: int = 0) -> bytes:
    return struct.pack("!B3xHH", kind, identifier, 1)


@pytest.mark.parametrize("probes", [[], [PROBE], MOST])
@pytest.mark.parametrize(
    ("counts", "frame"),
    [
        (True, ipv4(TCP, ports(OTHER, 80))),
        (True, ipv4(UDP, ports(PROBE, 53))),
        (True, ipv4(ICMP, icmp(8, OTHER))),
        (True, ipv6(TCP, ports(80, OTHER))),
        (True, ipv6(UDP, ports(PROBE, PROBE))),
        (True, ipv6(ICMP6, icmp(128, OTHER))),
        (True, ipv6(ICMP6, icmp(138, OTHER))),
        (False, ipv6(ICMP6, icmp(133, OTHER))),
        (False, ipv6(ICMP6, icmp(137, OTHER))),
        (False, ethernet(2, ARP, bytes(46))),
        (False, ipv4(TCP, ports(OTHER, 80), to=0xFF)),
        (False, ipv4(UDP, to=1)),
        (False, ipv6(UDP, to=0x33)),
    ],
)
def test_only_packets_between_two_hosts_keep_a_guest_awake(probes: list[int], counts: bool, frame: bytes) -> None:
    assert takes(frame, probes) is counts


@pytest.mark.parametrize(
    "frame",
    [
        ipv4(TCP, ports(PROBE, 80)),
        ipv4(TCP, ports(80, PROBE)),
        ipv4(TCP, ports(80, PROBE), options=3),
        ipv4(ICMP, icmp(8, PROBE)),
        ipv4(ICMP, icmp(0, PROBE)),
        ipv6(TCP, ports(PROBE, 80)),
        ipv6(TCP, ports(80, PROBE)),
        ipv6(ICMP6, icmp(128, PROBE)),
        ipv6(ICMP6, icmp(129, PROBE)),
    ],
)
def test_packets_of_health_checks_do_not_count(frame: bytes) -> None:
    assert takes(frame, [OTHER])
    assert not takes(frame, [OTHER, PROBE])
    assert not takes(frame, MOST)
