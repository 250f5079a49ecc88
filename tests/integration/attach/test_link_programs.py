"""The programs of a private link, run by the kernel on single frames (linux/bpf.h: BPF_PROG_TEST_RUN)."""

import ctypes
import os
import random
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from supervisor.core.devices.link_program import LinkEnds, build_guard_program, build_link_program
from supervisor.core.links import IfIndex
from supervisor.linux import bpf_calls

SCHED_CLS, TEST_RUN = 3, 10  # linux/bpf.h
PASS, DROP, REDIRECT = 0xFFFFFFFF, 2, 7  # linux/pkt_cls.h: TC_ACT_UNSPEC, TC_ACT_SHOT, TC_ACT_REDIRECT
CONTEXT_BYTES = 192
MARK, INDEX = 8, 40  # offsets in struct __sk_buff
R, GUEST, OTHER = "169.254.118.1", "172.17.0.2", "172.17.0.9"
MAC, GUESTS_MAC, BROADCAST = b"\x5e\0\0\0\0\x09", b"\x02\x42\xac\x11\0\x02", b"\xff" * 6
IP, ARP, VLAN, IPV6 = 0x0800, 0x0806, 0x8100, 0x86DD
FRAMES = 3000
SHORTEST = {IP: 34, IPV6: 54}
"""With less than the headers the kernel does not try these frames."""
Frame = Callable[[str, str], bytes]
LOOPBACK = IfIndex(1)
"""The kernel runs a program only on a frame of a link that there is: this one stands for either end."""


def ip(source: str, destination: str) -> bytes:
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 28, 0, 0, 64, 17, 0) + addresses
    return MAC + GUESTS_MAC + struct.pack("!H", IP) + header + bytes(8)


def arp(source: str, destination: str) -> bytes:
    body = struct.pack("!HHBBH", 1, IP, 6, 4, 1) + GUESTS_MAC + socket.inet_aton(source)
    return BROADCAST + GUESTS_MAC + struct.pack("!H", ARP) + body + bytes(6) + socket.inet_aton(destination)


class Program:
    """A program that the kernel has loaded."""

    def __init__(self, instructions: bytes) -> None:
        self.descriptor = bpf_calls.load_bpf(SCHED_CLS, instructions)

    def run(self, frame: bytes, mark: int = 0) -> tuple[int, bytes, int]:
        """Return its verdict, and the frame and its mark afterwards."""
        context = bytearray(CONTEXT_BYTES)
        struct.pack_into("<I", context, MARK, mark)
        struct.pack_into("<I", context, INDEX, LOOPBACK)
        into, out = ctypes.create_string_buffer(frame, len(frame)), ctypes.create_string_buffer(2048)
        given, left = ctypes.create_string_buffer(bytes(context)), ctypes.create_string_buffer(CONTEXT_BYTES)
        attr = struct.pack(
            "<IIIIQQIIIIQQ",
            *(self.descriptor, 0, len(frame), len(out)),
            *(ctypes.addressof(into), ctypes.addressof(out)),
            *(1, 0, CONTEXT_BYTES, CONTEXT_BYTES),
            *(ctypes.addressof(given), ctypes.addressof(left)),
        )
        buffer = ctypes.create_string_buffer(attr, bpf_calls.BPF_ATTR_BYTES)
        bpf_calls.bpf(TEST_RUN, buffer)
        _, verdict, _, size = struct.unpack_from("<IIII", buffer)
        return verdict, out.raw[:size], struct.unpack_from("<I", left, MARK)[0]


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    """The program as it is on the tap, as it is on the interface, and the guard."""
    if os.geteuid() != 0:
        pytest.skip("needs root: BPF programs")
    loaded = [
        Program(build_link_program(LinkEnds(R, IfIndex(7), MAC.hex(":"), tap=LOOPBACK))),
        Program(build_link_program(LinkEnds(R, LOOPBACK, MAC.hex(":"), tap=IfIndex(7)))),
        Program(build_guard_program(R)),
    ]
    yield loaded
    for each in loaded:
        os.close(each.descriptor)


@pytest.mark.parametrize("frame", [ip, arp])
def test_guest_reaches_only_the_address(programs: list[Program], frame: Frame) -> None:
    tap, _, guard = programs
    verdict, sent, mark = tap.run(frame(GUEST, R))
    assert (verdict, sent) == (REDIRECT, MAC + frame(GUEST, R)[6:])
    assert guard.run(sent, mark) == (PASS, sent, 0)
    assert tap.run(frame(GUEST, OTHER))[0] == PASS
    assert tap.run(frame(R, OTHER))[0] == DROP
    assert tap.run(frame(R, R))[0] == DROP


@pytest.mark.parametrize("frame", [ip, arp])
def test_only_what_comes_from_the_address_goes_to_the_guest(programs: list[Program], frame: Frame) -> None:
    interface = programs[1]
    assert interface.run(frame(R, GUEST))[:2] == (REDIRECT, frame(R, GUEST))
    for passed in (frame(OTHER, GUEST), frame(GUEST, OTHER), frame(GUEST, R)):
        assert interface.run(passed)[:2] == (PASS, passed)


@pytest.mark.parametrize("frame", [ip, arp])
def test_network_does_not_reach_the_address(programs: list[Program], frame: Frame) -> None:
    guard = programs[2]
    assert guard.run(frame(OTHER, R))[0] == DROP
    assert guard.run(frame(R, GUEST))[0] == DROP
    assert guard.run(frame(OTHER, GUEST), mark=5) == (PASS, frame(OTHER, GUEST), 5)


def test_garbage_passes_unless_it_has_the_address(programs: list[Program]) -> None:
    chosen = random.Random(118)  # noqa: S311  # the same frames each time
    own = socket.inet_aton(R)
    for _ in range(FRAMES):
        kind = chosen.choice((IP, ARP, VLAN, IPV6, chosen.randrange(1 << 16)))
        frame = bytearray(chosen.randbytes(chosen.randrange(SHORTEST.get(kind, 14), 120)))
        struct.pack_into("!H", frame, 12, kind)
        if own in frame:
            continue
        for program in programs:
            assert program.run(bytes(frame))[:2] == (PASS, bytes(frame))


def test_tagged_frame_is_of_another_network(programs: list[Program]) -> None:
    tagged = ip(GUEST, R)[:12] + struct.pack("!HH", VLAN, 7) + ip(GUEST, R)[12:]
    for program in programs:
        assert program.run(tagged)[:2] == (PASS, tagged)
