"""UDP packets for a packet socket."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.formats.frames import checksum
from supervisor.core.formats.udp import Datagram, format_packet, parse_packet

OFFER = Datagram("169.254.77.1", 67, "255.255.255.255", 68, b"hello")


@given(st.binary(max_size=1400), st.integers(0, 65535))
def test_packet_is_read_as_it_was_built(payload: bytes, port: int) -> None:
    datagram = replace(OFFER, payload=payload, destination_port=port)
    packet = format_packet(datagram)
    assert parse_packet(packet) == datagram
    assert parse_packet(packet + b"\0" * 9) == datagram, "a short frame is filled up"
    assert checksum(packet[:20]) == 0
    summed = packet[12:20] + b"\0\x11" + packet[24:26] + packet[20:]
    assert checksum(summed + b"\0" * (len(summed) % 2)) == 0


def test_checksum_is_never_left_out() -> None:
    sums = {format_packet(replace(OFFER, source_port=port, payload=b""))[26:28] for port in range(65536)}
    assert b"\0\0" not in sums


def spoiled(at: int, value: int) -> bytes:
    packet = bytearray(format_packet(OFFER))
    packet[at] = value
    return bytes(packet)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        bytes(19),
        spoiled(0, 0x65),
        spoiled(0, 0x44),
        spoiled(0, 0x4F),
        spoiled(9, 6),
        spoiled(6, 0x20),
        spoiled(7, 1),
        spoiled(3, 99),
        spoiled(3, 24),
        spoiled(25, 7),
        spoiled(25, 99),
    ],
)
def test_what_is_no_udp_packet_is_not_read(broken: bytes) -> None:
    assert parse_packet(broken) is None


def test_packet_that_may_not_be_fragmented_is_read() -> None:
    assert parse_packet(spoiled(6, 0x40)) == OFFER
