"""Netlink messages: their headers and attributes, packed and unpacked (man 7 netlink; linux/netlink.h)."""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
HEADER_KIND_OFFSET = 4
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type
_CODE = struct.Struct("=i")  # the first member of struct nlmsgerr, and all of NLMSG_DONE's payload
_TYPE_BITS = 0x3FFF  # the rest are NLA_F_NESTED and NLA_F_NET_BYTEORDER

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
NLM_F_DUMP_INTR = 0x10
"""The tables changed during the dump, so it may be inconsistent."""


class Request(NamedTuple):
    """A message to the kernel without its header. With NLM_F_ACK the kernel acknowledges it."""

    kind: int
    flags: int
    body: bytes


class Message(NamedTuple):
    """A message from the kernel."""

    kind: int
    flags: int
    sequence: int
    payload: bytes


def pack(requests: Sequence[Request], sequence: int) -> bytes:
    """Return the requests as one piece, numbered from `sequence` on.

    The kernel carries them out in this order, and goes on after one that fails.
    """
    return b"".join(
        _HEADER.pack(_HEADER.size + len(body), kind, NLM_F_REQUEST | flags, sequence + number, 0) + body
        for number, (kind, flags, body) in enumerate(requests)
    )


def unpack(data: bytes) -> Iterator[Message]:
    """Yield each message in what one recv returned."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield Message(kind, flags, sequence, data[offset + _HEADER.size : offset + length])
        offset += _aligned(length)


def parse_error(payload: bytes) -> int:
    """Return the errno in an NLMSG_ERROR or NLMSG_DONE; 0 if there was no error."""
    code: int = _CODE.unpack_from(payload)[0] if len(payload) >= _CODE.size else 0
    return -code


def pack_attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute, padded to the alignment of the next."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def unpack_attributes(data: bytes) -> dict[int, bytes]:
    """Return the values of all attributes by their type."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):  # an attach waits for this; a generator takes twice as long
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _TYPE_BITS] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += _aligned(length)
    return found


def each_attribute(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each attribute's type and value. A type may come more than once."""
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            return
        yield kind & _TYPE_BITS, data[offset + _ATTRIBUTE.size : offset + length]
        offset += _aligned(length)


def without_attributes(data: bytes, *kinds: int) -> bytes:
    """Return the attributes without those of these types. The others keep every bit."""
    kept = []
    offset = 0
    for kind, value in each_attribute(data):
        end = offset + _aligned(_ATTRIBUTE.size + len(value))
        if kind not in kinds:
            kept.append(data[offset:end].ljust(end - offset, b"\0"))
        offset = end
    return b"".join(kept)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
