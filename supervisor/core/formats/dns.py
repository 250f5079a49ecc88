"""Read a DNS query as far as it must be known to pass it on, and build the few answers that are made here (RFC 1035).

Names are tuples of labels in lower case, without the root: `db.example` is (b"db", b"example"). What follows the
question is only walked over, to find how long an answer the asker takes (RFC 6891).
"""

import ipaddress
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_HEADER = struct.Struct("!HHHHHH")
_QUESTION = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")
_QR, _OPCODE, _AA, _TC, _RD, _RA, _RCODE = 0x8000, 0x7800, 0x0400, 0x0200, 0x0100, 0x0080, 0x000F
_MAX_LABEL, _MAX_NAME, _POINTER = 63, 255, 0xC0
_TO_QUESTION = 0xC00C
"""A compressed name: the one at offset 12, which is the question's."""

A, PTR, AAAA, OPT = 1, 12, 28, 41
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
HEADER_BYTES = _HEADER.size
LEAST_ROOM_BYTES = 512
"""How long an answer over UDP may be if the asker does not say (RFC 1035, 2.3.4)."""
MAX_QUERY_BYTES = 4096
"""No resolver sends a longer query."""

Name = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """A question of one name."""

    id: int
    flags: int
    question: bytes
    """Name, type and class, as they are in the message."""
    name: Name
    type: int
    is_internet: bool
    """Whether its class is IN."""
    room_bytes: int
    """How long an answer over UDP may be."""


def parse_query(message: bytes) -> Query | None:
    """Return the query, or None if the message is not a standard query with one question."""
    if not HEADER_BYTES < len(message) <= MAX_QUERY_BYTES:
        return None
    id, flags, questions, *others = _HEADER.unpack_from(message)
    name, end = _read_name(message, HEADER_BYTES)
    if flags & (_QR | _OPCODE) or questions != 1 or name is None or end + _QUESTION.size > len(message):
        return None
    type, kind = _QUESTION.unpack_from(message, end)
    end += _QUESTION.size
    room_bytes = _read_room(message, end, sum(others))
    return Query(id, flags, message[HEADER_BYTES:end], name, type, kind == IN, room_bytes)


def _read_name(message: bytes, at: int) -> tuple[Name | None, int]:
    """Return the name that begins there, and where it ends; None for one that is cut short, too long or compressed."""
    labels: list[bytes] = []
    begin = at
    while at < len(message):
        length = message[at]
        if length == 0:
            return (tuple(labels), at + 1) if at + 1 - begin <= _MAX_NAME else (None, at)
        if length > _MAX_LABEL:
            break
        labels.append(message[at + 1 : at + 1 + length].lower())
        at += 1 + length
    return None, at


def _read_room(message: bytes, at: int, records: int) -> int:
    """Return how long an answer may be: what an OPT record says, whose class is that number."""
    for _ in range(records):
        at = _skip_name(message, at)
        if at + _RECORD.size > len(message):
            break
        type, room_bytes, _, length = _RECORD.unpack_from(message, at)
        if type == OPT:
            return max(int(room_bytes), LEAST_ROOM_BYTES)
        at += _RECORD.size + length
    return LEAST_ROOM_BYTES


def _skip_name(message: bytes, at: int) -> int:
    """Return where the name ends that begins there, which may be compressed."""
    while at < len(message) and 0 < message[at] <= _MAX_LABEL:
        at += 1 + message[at]
    return at + (2 if at < len(message) and message[at] >= _POINTER else 1)


def format_query(name: Name) -> bytes:
    """Return a query for the IPv4 addresses of a name, under the id 0."""
    return _HEADER.pack(0, _RD, 1, 0, 0, 0) + _packed_name(name) + _QUESTION.pack(A, IN)


def question_of(query: bytes) -> bytes:
    """Return the question of a message that has nothing behind it."""
    return query[HEADER_BYTES:]


def with_id(message: bytes, id: int) -> bytes:
    """Return the message with another id."""
    return struct.pack("!H", id) + message[2:]


def id_of(message: bytes) -> int:
    """Return the message's id; -1 if it is too short to have one."""
    return int.from_bytes(message[:2], "big") if len(message) >= HEADER_BYTES else -1


def is_answer(message: bytes, id: int, question: bytes) -> bool:
    """Return whether a message is an answer to the question that was asked under this id."""
    if len(message) < HEADER_BYTES + len(question):
        return False
    found, flags, questions, *_ = _HEADER.unpack_from(message)
    repeated = message[HEADER_BYTES : HEADER_BYTES + len(question)]
    return found == id and bool(flags & _QR) and questions == 1 and repeated.lower() == question.lower()


def rcode_of(answer: bytes) -> int:
    """Return an answer's response code."""
    flags: int = _HEADER.unpack_from(answer)[1]
    return flags & _RCODE


def has_records(answer: bytes) -> bool:
    """Return whether an answer says something of the name: it has a record, or is cut short."""
    _, flags, _, records, *_ = _HEADER.unpack_from(answer)
    return bool(records or flags & _TC)


def shorten(answer: bytes, query: Query) -> bytes:
    """Return the answer, or one without records and marked as cut short if the asker cannot take it over UDP."""
    if len(answer) <= query.room_bytes:
        return answer
    id, flags, *_ = _HEADER.unpack_from(answer)
    return _HEADER.pack(id, flags | _TC, 1, 0, 0, 0) + query.question


def failure(query: Query, rcode: int) -> bytes:
    """Return an answer with nothing but a response code."""
    return _header(query, rcode, 0) + query.question


def format_error(message: bytes) -> bytes | None:
    """Return the answer to a message that is no query as it should be; None if it is none at all, or an answer."""
    if len(message) < HEADER_BYTES:
        return None
    id, flags, *_ = _HEADER.unpack_from(message)
    if flags & _QR:
        return None
    rcode = NOTIMP if flags & _OPCODE else FORMERR
    return _HEADER.pack(id, _QR | flags & (_OPCODE | _RD) | rcode, 0, 0, 0, 0)


def answer_addresses(query: Query, addresses: Iterable[bytes]) -> bytes:
    """Return the answer with these addresses, packed, of those that are of the type that is asked for."""
    length = 4 if query.type == A else 16
    return _answer(query, [address for address in addresses if len(address) == length])


def answer_name(query: Query, name: Name) -> bytes:
    """Return the answer to a query for the name of an address."""
    return _answer(query, [_packed_name(name)])


def _packed_name(name: Name) -> bytes:
    return b"".join(bytes((len(label),)) + label for label in name) + b"\0"


def _answer(query: Query, values: Sequence[bytes]) -> bytes:
    """Return an answer that no one may keep: the file that it comes from may change at any time."""
    fixed = struct.pack("!H", _TO_QUESTION)
    records = [fixed + _RECORD.pack(query.type, IN, 0, len(value)) + value for value in values]
    return _header(query, NOERROR, len(records), _AA) + query.question + b"".join(records)


def _header(query: Query, rcode: int, records: int, more: int = 0) -> bytes:
    return _HEADER.pack(query.id, _QR | more | query.flags & _RD | _RA | rcode, 1, records, 0, 0)


def address_of(name: Name) -> bytes | None:
    """Return the address, packed, whose name a PTR query for this name asks for; None for other names."""
    if len(name) == 6 and name[4:] == (b"in-addr", b"arpa"):
        text = b".".join(reversed(name[:4]))
    elif len(name) == 34 and name[32:] == (b"ip6", b"arpa") and all(len(label) == 1 for label in name[:32]):
        digits = b"".join(reversed(name[:32]))
        text = b":".join(digits[at : at + 4] for at in range(0, 32, 4))
    else:
        return None
    try:
        return ipaddress.ip_address(text.decode("ascii")).packed
    except ValueError:
        return None
