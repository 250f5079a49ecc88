"""DNS queries that are passed on or answered, as a resolver sends them."""

import ipaddress
import struct

import pytest

from supervisor.core.formats import dns

OPT = b"\0" + struct.pack("!HHIH", dns.OPT, 1232, 0, 0)


def question(name: str, type: int = dns.A, kind: int = dns.IN) -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split(".") if label)
    return labels + b"\0" + struct.pack("!HH", type, kind)


def message(
    name: str = "db",
    type: int = dns.A,
    *,
    flags: int = 0x0100,
    counts: tuple[int, ...] = (1, 0, 0, 0),
    rest: bytes = b"",
) -> bytes:
    return struct.pack("!HHHHHH", 0x1234, flags, *counts) + question(name, type) + rest


def parsed(name: str = "db", type: int = dns.A) -> dns.Query:
    query = dns.parse_query(message(name, type))
    assert query is not None
    return query


def records(answer: bytes, query: dns.Query) -> list[bytes]:
    """Return the values of the records of an answer that was made here."""
    at, found = dns.HEADER_BYTES + len(query.question), []
    while at < len(answer):
        name, type, kind, ttl, length = struct.unpack_from("!HHHIH", answer, at)
        assert (name, type, kind, ttl) == (0xC00C, query.type, dns.IN, 0)
        found.append(answer[at + 12 : at + 12 + length])
        at += 12 + length
    assert len(found) == struct.unpack_from("!H", answer, 6)[0]
    return found


def test_query_is_read() -> None:
    query = dns.parse_query(message("DB.Example"))
    assert query is not None
    assert (query.id, query.name, query.type, query.is_internet) == (0x1234, (b"db", b"example"), dns.A, True)
    assert query.question == question("DB.Example"), "the case that the asker chose is kept"
    assert query.room_bytes == 512


def test_query_of_ones_own_is_a_query() -> None:
    built = dns.format_query((b"db", b"example"))
    query = dns.parse_query(built)
    assert query is not None
    assert (query.name, query.type, query.is_internet) == ((b"db", b"example"), dns.A, True)
    assert dns.question_of(built) == query.question == question("db.example")


def test_query_for_the_root_is_read() -> None:
    assert parsed("").name == ()


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        message()[:12],
        message()[:-1],
        message(flags=0x8100),
        message(flags=0x2800),
        message(counts=(0, 0, 0, 0)),
        message(counts=(2, 0, 0, 0)),
        message("x" * 64),
        message(".".join(["x" * 63] * 4)),
        struct.pack("!HHHHHH", 1, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1",
        struct.pack("!HHHHHH", 1, 0, 1, 0, 0, 0) + b"\x3fabc",
        message(rest=bytes(dns.MAX_QUERY_BYTES)),
    ],
)
def test_what_is_no_query_with_one_question_is_not_read(broken: bytes) -> None:
    assert dns.parse_query(broken) is None


@pytest.mark.parametrize(
    ("rest", "additional", "room_bytes"),
    [
        (OPT, 1, 1232),
        (b"\xc0\x0c" + struct.pack("!HHIH", dns.A, 1, 0, 4) + bytes(4) + OPT, 2, 1232),
        (b"\x01x\0" + struct.pack("!HHIH", dns.A, 1, 0, 4) + bytes(4) + OPT, 2, 1232),
        (b"\0" + struct.pack("!HHIH", dns.OPT, 100, 0, 0), 1, 512),
        (b"\0" + struct.pack("!HHIH", dns.A, 1, 0, 9999) + OPT, 2, 512),
        (OPT[:-1], 1, 512),
        (b"\x01x", 1, 512),
        (b"", 3, 512),
        (b"\0" + struct.pack("!HHIH", dns.A, 1, 0, 0), 1, 512),
    ],
)
def test_length_of_an_answer_is_the_askers(rest: bytes, additional: int, room_bytes: int) -> None:
    query = dns.parse_query(message(counts=(1, 0, 0, additional), rest=rest))
    assert query is not None
    assert query.room_bytes == room_bytes


def test_query_is_passed_on_under_another_id() -> None:
    asked = dns.with_id(message(), 0xABCD)
    assert dns.id_of(asked) == 0xABCD
    assert asked[2:] == message()[2:]
    assert dns.id_of(b"\1\2") == -1


def test_answer_must_repeat_id_and_question() -> None:
    answer = message(flags=0x8180)
    assert dns.is_answer(answer, 0x1234, question("db"))
    assert dns.is_answer(answer, 0x1234, question("DB")), "a server may change the case"
    assert not dns.is_answer(answer, 0x1235, question("db"))
    assert not dns.is_answer(answer, 0x1234, question("dc"))
    assert not dns.is_answer(message(), 0x1234, question("db"))
    assert not dns.is_answer(message(flags=0x8180, counts=(0, 0, 0, 0)), 0x1234, question("db"))
    assert not dns.is_answer(answer[:-1], 0x1234, question("db"))


def test_answer_says_something_if_it_has_records_or_is_cut_short() -> None:
    assert dns.has_records(message(flags=0x8180, counts=(1, 1, 0, 0)))
    assert dns.has_records(message(flags=0x8380))
    assert not dns.has_records(message(flags=0x8183))
    assert dns.rcode_of(message(flags=0x8183)) == dns.NXDOMAIN


def test_long_answer_is_cut_short() -> None:
    answer = message(flags=0x8180, counts=(1, 9, 0, 0), rest=bytes(600))
    short = dns.shorten(answer, parsed())
    assert struct.unpack("!HHHHHH", short[:12]) == (0x1234, 0x8380, 1, 0, 0, 0)
    assert short[12:] == question("db")
    fits = message(flags=0x8180, rest=bytes(100))
    assert dns.shorten(fits, parsed()) is fits


def test_failure_repeats_the_question() -> None:
    answer = dns.failure(parsed(), dns.SERVFAIL)
    assert dns.is_answer(answer, 0x1234, question("db"))
    assert dns.rcode_of(answer) == dns.SERVFAIL


def test_broken_query_is_answered_without_its_question() -> None:
    answer = dns.format_error(message(counts=(2, 0, 0, 0)))
    assert answer == struct.pack("!HHHHHH", 0x1234, 0x8101, 0, 0, 0, 0)
    answer = dns.format_error(message(flags=0x2000))
    assert answer is not None
    assert dns.rcode_of(answer) == dns.NOTIMP
    assert dns.format_error(message(flags=0x8000)) is None, "an answer to an answer might go on for ever"
    assert dns.format_error(bytes(5)) is None


def test_addresses_of_the_type_are_answered() -> None:
    four, six = ipaddress.ip_address("10.0.0.2").packed, ipaddress.ip_address("fd00::2").packed
    assert records(dns.answer_addresses(parsed(), [four, six]), parsed()) == [four]
    assert records(dns.answer_addresses(parsed(type=dns.AAAA), [four, six]), parsed(type=dns.AAAA)) == [six]
    assert records(dns.answer_addresses(parsed(type=dns.AAAA), [four]), parsed(type=dns.AAAA)) == []


def test_name_of_an_address_is_answered() -> None:
    query = parsed("2.0.0.10.in-addr.arpa", dns.PTR)
    assert dns.address_of(query.name) == ipaddress.ip_address("10.0.0.2").packed
    assert records(dns.answer_name(query, (b"db", b"lan")), query) == [b"\2db\3lan\0"]


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (ipaddress.ip_address("fd00::2").reverse_pointer, "fd00::2"),
        ("2.0.0.10.in-addr.example", None),
        ("2.0.0.256.in-addr.arpa", None),
        ("٣.0.0.10.in-addr.arpa", None),
        (".".join(["x"] * 32) + ".ip6.arpa", None),
        (".".join(["00", *"0" * 31]) + ".ip6.arpa", None),
    ],
)
def test_address_of_a_reverse_name(name: str, address: str | None) -> None:
    packed = ipaddress.ip_address(address).packed if address else None
    assert dns.address_of(tuple(label.encode() for label in name.split("."))) == packed
