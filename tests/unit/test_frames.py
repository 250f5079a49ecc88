"""Frames that probe a guest, and its answers."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.formats.frames import Target, arp_probe, is_arp_reply, is_syn_ack, tcp_syn

GUEST = Target("02:42:c0:a8:5a:02", "192.168.90.2")
ASKING = "5e:00:00:00:00:01"
GATEWAY = "192.168.90.1"
PORT, SOURCE_PORT, SEQUENCE = 80, 50_000, 0xFFFFFFFF

PROBE = "ffffffffffff 5e0000000001 0806 0001 0800 06 04 0001 5e0000000001 00000000 000000000000 c0a85a02"
REPLY = "5e0000000001 0242c0a85a02 0806 0001 0800 06 04 0002 0242c0a85a02 c0a85a02 5e0000000001 00000000"


def packed(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


def answer(
    flags: int = 0x12, acknowledged: int = 0, port: int = PORT, source: str = "c0a85a02", options: int = 0
) -> bytes:
    ip = packed(f"{0x45 + options:02x}00002c000040004006 0000 {source} c0a85a01") + b"\0" * (4 * options)
    tcp = struct.pack("!HHIIBBHHH", port, SOURCE_PORT, 1, acknowledged, 6 << 4, flags, 1000, 0, 0)
    return packed("0242aaaaaaaa 0242c0a85a02 0800") + ip + tcp


def test_arp_probe_has_no_sender_address() -> None:
    assert arp_probe(ASKING, GUEST) == packed(PROBE)


def test_arp_reply_must_come_from_the_guest() -> None:
    assert is_arp_reply(packed(REPLY), GUEST)
    for other in (Target("02:42:c0:a8:5a:03", GUEST.ip), Target(GUEST.mac, "192.168.90.3")):
        assert not is_arp_reply(packed(REPLY), other)
    assert not is_arp_reply(packed(PROBE), GUEST)


def test_syn_has_correct_checksums() -> None:
    frame = tcp_syn(ASKING, GATEWAY, SOURCE_PORT, GUEST, PORT, SEQUENCE)
    assert frame[:14] == packed("0242c0a85a02 5e0000000001 0800")
    ip, tcp = frame[14:34], frame[34:]
    assert total(ip) == 0xFFFF
    assert total(ip[12:20] + struct.pack("!HH", 6, len(tcp)) + tcp) == 0xFFFF
    assert struct.unpack("!HHIIBB", tcp[:14]) == (SOURCE_PORT, PORT, SEQUENCE, 0, 0x50, 0x02)


def total(data: bytes) -> int:
    """Return the sum of RFC 1071; all bits are set if the checksum is right."""
    added: int = sum(word for (word,) in struct.iter_unpack("!H", data))
    while added >> 16:
        added = (added & 0xFFFF) + (added >> 16)
    return added


def takes(frame: bytes) -> bool:
    return is_syn_ack(frame, SOURCE_PORT, GUEST, PORT, SEQUENCE)


def test_only_a_syn_ack_accepts_the_connection() -> None:
    assert takes(answer())
    assert takes(answer(options=2)), "the IP header may have options"
    assert not takes(answer(flags=0x14)), "a reset is not an acceptance"
    assert not takes(answer(acknowledged=1)), "the answer to another SYN"
    assert not takes(answer(port=81))
    assert not takes(answer(source="c0a85a03"))


@pytest.mark.parametrize("frame", [b"", packed(PROBE), packed(REPLY)[:20], answer()[:40], answer(options=10)[:60]])
def test_truncated_or_other_frame_is_not_an_answer(frame: bytes) -> None:
    assert not takes(frame)


@given(st.binary(max_size=128))
def test_random_frame_is_not_an_answer(frame: bytes) -> None:
    assert not takes(frame)
    assert not is_arp_reply(frame, GUEST)
