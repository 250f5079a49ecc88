"""Random input is accepted or refused; nothing crashes, hangs or grows. `make fuzz` runs far more examples."""

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.abc
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supervisor.core.formats import dhcp, dns, udp
from supervisor.core.formats.hosts import parse_hosts
from supervisor.core.guest.console_scanner import MAX_LINE_BYTES, ConsoleScanner
from supervisor.core.guest.labels import parse_labels
from supervisor.core.guest.qemu_argv import build_arguments
from supervisor.core.guest.qemu_inputs import Card, Descriptors, ShareDevice
from supervisor.core.guest.spec import GuestPolicy
from supervisor.core.kinds import FORMS, KINDS, MARKERS, choose_kind, require_bootable
from supervisor.core.kinds.kind import BootRequest, GuestKind, Mount
from supervisor.core.kinds.shares import shared_folders
from supervisor.core.record import GuestRecord, Record
from supervisor.edges.qemu.qmp import QmpSession
from supervisor.edges.records import Records
from supervisor.errors import Permanent, Rejected, Transient

from .examples import ID, NETWORK, PROCESS, container, record
from .images import bzimage, examined, multiboot, multiboot_elf, pvh, solo5

ANSWER_S = 20.0
FDS = Descriptors(None, (), (), (Card(0, (11,), "02:42:ac:11:00:02", 1500),), 12, 13, 14, 15)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)

# Labels

NAMES = st.sampled_from(
    ["kernel", "guest", "initrd", "args", "memory", "cpus", "address", "restart", "on-exit", "stop-timeout", "accel",
     "machine", "env", "enable", "kernel-args", "disk.0", "share.0", "screen"],
) | st.text(max_size=12)  # fmt: skip
VALUES = st.text(max_size=60) | st.sampled_from(
    ["/k", "auto", *KINDS, "64M", "999999999999999G", "2", "10.0.0.2/24", "10.0.0.2/24,10.0.0.1", "on-failure:3",
     "true", "keep", "1e309s", "5s", "pc", "kvm", "/../../etc/shadow", "/k,readonly=on", "/d,mount=/x",
     "/d:ro,format=qcow2", "/d:ro,tag=t,mount=/m", "/,by=9p", '"a": 1', "--x", "K", "²", "0x10", "٣"]
)  # fmt: skip
ENV = st.lists(st.tuples(st.text(max_size=8), st.text(max_size=12)), max_size=3)


@given(st.dictionaries(NAMES, VALUES, max_size=8), ENV, st.integers(0, 1 << 40), st.sampled_from(FORMS))
def test_random_labels_give_a_command_line_or_a_refusal(
    labels: dict[str, str], env: list[tuple[str, str]], limit: int, kind: GuestKind
) -> None:
    asking = container(
        labels={"vtapd.kernel": "/k"} | {f"vtapd.{name}": value for name, value in labels.items()},
        env=tuple(env),
        memory_limit_bytes=limit,
    )
    message = ""
    try:
        spec = parse_labels(asking, GuestPolicy())
        assert spec is not None or not labels.get("kernel", "/k")
        if spec is None:
            return
        mounts = tuple(Mount(n, d.mount, "vtapd.disk", str(d), "ext") for n, d in enumerate(spec.disks) if d.mount)
        shares = shared_folders(spec.shares, kind.name, kind.shares)
        boot = kind.boot(BootRequest(spec.args, spec.kernel_args, NETWORK, spec.env, mounts, shares, room_bytes=2047))
        devices = tuple(ShareDevice(share.number, share.tag, share.read_only) for share in shares)
        words = build_arguments("qemu", ID, spec, "tcg", kind.machine, boot, replace(FDS, shares=devices))
    except Rejected as refusal:
        message = str(refusal)
        words = []
    assert message.isprintable(), "a refusal is one printable line"
    assert not any("\0" in word for word in words), "an argument with a NUL cannot be passed"
    if "-append" in words:
        del words[words.index("-append") + 1]
    assert {word for word in words if word.startswith("-")} <= OPTIONS


OPTIONS = {
    "-name", "-nodefaults", "-no-user-config", "-display", "-machine", "-accel", "-cpu", "-m", "-smp", "-kernel",
    "-initrd", "-append", "-netdev", "-device", "-add-fd", "-chardev", "-serial", "-mon", "-action", "-sandbox",
    "-drive", "-fsdev",
}  # fmt: skip


# Images

HEADS = st.binary(max_size=600) | st.builds(
    lambda start, rest: start + rest,
    st.sampled_from([b"\x7fELF\x02\x01\x01", b"\x7fELF\x01\x01\x01", b"\x02\xb0\xad\x1b", b"\0" * 0x202 + b"HdrS"]),
    st.binary(max_size=300),
)


def _spoiled(whole: bytes) -> st.SearchStrategy[bytes]:
    """Replace some bytes and drop some."""
    return st.tuples(st.integers(0, len(whole)), st.integers(0, 8), st.binary(max_size=8)).map(
        lambda cut: whole[: cut[0]] + cut[2] + whole[cut[0] + cut[1] :]
    )


WHOLE_IMAGES = st.sampled_from([pvh(), multiboot(), multiboot_elf(), bzimage(), solo5()]).flatmap(_spoiled)


@given(HEADS | WHOLE_IMAGES, st.lists(st.sampled_from(sorted(MARKERS))), st.sampled_from(["auto", *KINDS]))
def test_random_images_are_classified_or_refused(head: bytes, markers: list[bytes], asked: str) -> None:
    message = ""
    try:
        choice = choose_kind(asked, require_bootable(examined(head + b"".join(markers)), "/k"), "/k")
        assert choice.kind in FORMS
    except Rejected as refusal:
        message = str(refusal)
    assert message.isprintable(), "a refusal is one printable line"


# The console

LINE = st.sampled_from(
    [b"=== _exit(999999999999999999999) called ===\n", b"=== main() of \"", b"halted\r\n", b"FATAL TRAP: ", b"\x1b[31m",
     b"CRIT: [libkvmplat] <traps.c @ 1> Unhandled Trap 13 (", b"solo5_exit(", b"signal ", b"PANIC", b"Kernel panic",
     b"[backtrace]\n", b"\r", b"\n", b"\0"]
) | st.binary(max_size=60)  # fmt: skip


@given(st.lists(LINE, max_size=30).map(b"".join), st.integers(1, 200), st.sampled_from(FORMS))
@example(b"(" * 100_000, 65536, FORMS[0])
def test_random_console_output_gives_at_most_one_end(output: bytes, chunk_bytes: int, kind: GuestKind) -> None:
    scanner = ConsoleScanner(kind.console)
    ends = sum(scanner.feed(output[at : at + chunk_bytes]) for at in range(0, len(output), chunk_bytes))
    scanner.close()
    assert ends <= 1, "the end is reported once"
    assert len(scanner.last_line) <= MAX_LINE_BYTES
    assert scanner.verdict is None or scanner.verdict.reason.startswith("guest-")


# Names and addresses


QUERY = bytes.fromhex("123401000001000000000001 03777777 07657861 6d706c65 0000010001 00002904d0000000000000")
QUERIES = st.binary(max_size=100) | _spoiled(QUERY) | st.binary(max_size=40).map(lambda rest: QUERY[:12] + rest)


@given(QUERIES, st.binary(max_size=80) | _spoiled(QUERY))
@example(QUERY[:12] + b"\x01x" * 2000 + QUERY[24:], b"")
@example(QUERY[:12] + b"\xff" * 4000, b"")
def test_random_queries_are_read_or_refused(message: bytes, other: bytes) -> None:
    query = dns.parse_query(message)
    if query is None:
        refusal = dns.format_error(message)
        assert refusal is None or (dns.id_of(refusal) == dns.id_of(message) and len(refusal) == dns.HEADER_BYTES)
        return
    address = dns.address_of(query.name)
    made = [dns.failure(query, dns.SERVFAIL), dns.answer_addresses(query, [bytes(4), bytes(16)] * 300)]
    made += [dns.answer_name(query, query.name)] if address else []
    assert all(dns.is_answer(each, query.id, query.question) for each in made)
    assert all(len(dns.shorten(each, query)) <= query.room_bytes for each in made)
    if dns.is_answer(other, query.id, query.question):
        assert dns.rcode_of(other) in range(16)
        assert dns.has_records(other) in (True, False)


HOSTS_WORDS = st.lists(st.sampled_from(["10.0.0.1", "::1", "db", "a.b", "#", "\n", "\t", "."]))


@given(st.text(max_size=200) | HOSTS_WORDS.map(" ".join))
@example("10.0.0.1 " + "a " * 32000)
@example("10.0.0.1 a\n" * 5000)
def test_random_hosts_files_are_read(text: str) -> None:
    hosts = parse_hosts(text)
    assert all(len(address) in (4, 16) for found in hosts.addresses.values() for address in found)
    assert all(name in hosts.addresses for name in hosts.names.values())


LEASE = dhcp.Lease("172.18.0.2", 16, "169.254.77.1", 1500, "172.18.0.1", (), ("169.254.77.1",), "example.com", "web")
DISCOVER = (
    bytes.fromhex("01010600 deadbeef 0000 8000" + "00" * 16 + "0242ac120002" + "00" * 202 + "63825363")
    + bytes.fromhex("350101 3204ac120002 3604a9fe4d01 390205dc 3d0701 0242ac120002 ff")
)  # fmt: skip
REQUESTS = st.binary(max_size=400) | _spoiled(DISCOVER) | st.binary(max_size=80).map(lambda rest: DISCOVER[:240] + rest)


@given(REQUESTS)
@example(DISCOVER[:240] + bytes(60000))
@example(DISCOVER[:240] + b"\x3d\xff" + b"\1" * 255 + DISCOVER[240:])
def test_random_dhcp_messages_are_answered_or_ignored(message: bytes) -> None:
    request = dhcp.parse_request(message)
    answer = dhcp.reply(request, LEASE) if request else None
    if answer is None:
        return
    packet = udp.format_packet(udp.Datagram(LEASE.server, 67, answer.to, 68, answer.message))
    assert len(packet) <= 1500
    assert dhcp.parse_request(answer.message) is None, "a server's message is not answered"


@given(st.binary(max_size=80) | _spoiled(udp.format_packet(udp.Datagram("10.0.0.2", 68, "10.0.0.1", 67, b"hello"))))
def test_random_packets_are_read_or_ignored(packet: bytes) -> None:
    datagram = udp.parse_packet(packet)
    assert datagram is None or len(datagram.payload) <= len(packet) - 28


# Records


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


WRITTEN = msgspec.json.encode(replace(record(), guest=GuestRecord(process=PROCESS)))


@given(data=st.data())
def test_random_records_are_read_or_refused(folder: Path, data: st.DataObject) -> None:
    content = data.draw(st.binary(max_size=80) | JSON.map(msgspec.json.encode) | _spoiled(WRITTEN))
    (folder / f"{ID}.json").write_bytes(content)
    try:
        read = Records(folder).read(ID)
    except Permanent:
        return
    assert isinstance(read, Record)


def test_deeply_nested_record_is_refused(folder: Path) -> None:
    (folder / f"{ID}.json").write_bytes(b'{"x":' + b"[" * 200_000)
    with pytest.raises(Permanent):
        Records(folder).read(ID)


# QMP

GREETING = (
    msgspec.json.encode({"QMP": {"version": {"qemu": {"major": 7, "minor": 2}, "package": ""}, "capabilities": []}})
    + b"\r\n"
)
SAID = st.binary(max_size=80) | JSON.map(msgspec.json.encode) | _spoiled(GREETING) | st.sampled_from(
    [GREETING, b'{"return": {}}\r\n', b'{"event": "SHUTDOWN", "data": {"reason": 7}}\r\n', b'{"event": []}\r\n',
     b'{"error": {}}\r\n', b'{"return": {}, "id": "__qmp#00000"}\r\n', b"[" * 5000 + b"\r\n"]
)  # fmt: skip


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all examples: making one takes longer than most examples."""
    with asyncio.Runner() as runner:
        yield runner


@given(lines=st.lists(SAID, max_size=5))
def test_random_qmp_messages_do_not_break_the_session(runner: asyncio.Runner, folder: Path, lines: list[bytes]) -> None:
    runner.run(_run_session(folder / "qmp", b"\r\n".join(lines)))


async def _run_session(path: Path, message: bytes) -> None:
    """Connect to a QMP server that sends these bytes, whatever it is asked, and hangs up."""
    await anyio.Path(path).unlink(missing_ok=True)
    events: list[str] = []
    session = QmpSession(lambda name, _: events.append(name))
    async with await anyio.create_unix_listener(path) as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, lambda stream: _send(stream, message))
        with anyio.fail_after(ANSWER_S):
            try:
                await session.connect(path)
                await session.execute("query-status")
            except Transient:
                pass
            session.hang_up()
        tasks.cancel_scope.cancel()
    assert all(isinstance(name, str) for name in events)


async def _send(stream: anyio.abc.SocketStream, message: bytes) -> None:
    async with stream:
        await stream.send(message)
