import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.guest.console_scanner import MAX_LINE_BYTES, ConsoleScanner
from supervisor.core.kinds import KINDS
from supervisor.core.kinds.kind import ConsolePattern, Verdict
from supervisor.core.kinds.rumprun import RUMPRUN

LINES = st.sampled_from(
    [
        b'=== main() of "web" returned 3 ===\r\n',
        b"=== ERROR: _exit(7) called ===\n",
        b"FATAL TRAP: 6\n",
        b"halted\r\n",
        b"x" * MAX_LINE_BYTES + b"halted\n",
        b"\0 \r\n",
        b"\xff\xfe hello",
        b"\n",
    ]
) | st.binary(max_size=40)


def outcome(chunks: list[bytes]) -> tuple[Verdict | None, bool, str, int]:
    scanner = ConsoleScanner(RUMPRUN.console)
    result = sum(scanner.feed(chunk) for chunk in chunks)
    scanner.close()
    return scanner.verdict, scanner.ended, scanner.last_line, result


@given(st.lists(LINES, max_size=12), st.data())
def test_result_does_not_depend_on_the_chunks(lines: list[bytes], data: st.DataObject) -> None:
    text = b"".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    chunks = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    bytewise = [text[at : at + 1] for at in range(len(text))]
    assert outcome([text]) == outcome(chunks) == outcome(bytewise)


CRASHES = {
    "linux": b"[    1.234567] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
    "rumprun": b"_lwpabort() called",
    "unikraft": b"[    0.195844] CRIT: [libmusl] <abort.c @   21> abort called",
    "osv": b"[backtrace]",
    "mirage": b"Solo5: solo5_abort() called",
    "nanos": b"signal 11 received by tid 2, errno 0, code 1",
    "hermit": b"[0][PANIC] panicked at src/main.rs:3:5:",
}


def test_every_kind_with_console_patterns_has_a_crash_example() -> None:
    assert set(CRASHES) == {name for name, kind in KINDS.items() if kind.console}


@pytest.mark.parametrize("kind", CRASHES)
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_crash_line_is_found_across_chunks_of_a_flood(kind: str, ending: bytes) -> None:
    flood = (b"GET / HTTP/1.1 200 " + b"x" * 3000 + ending) * 20 + b"\x00\xff" * 500 + ending
    line = CRASHES[kind]
    for cut in range(len(line) + len(ending)):
        text = line + ending
        scanner = ConsoleScanner(KINDS[kind].console)
        for chunk in (flood[:777], flood[777:] + text[:cut], text[cut:] + flood[:100]):
            scanner.feed(chunk)
        assert scanner.verdict == Verdict("guest-panic")
        assert scanner.last_line.encode() == line


@pytest.mark.parametrize("kind", CRASHES)
def test_crash_text_inside_another_line_is_ignored(kind: str) -> None:
    scanner = ConsoleScanner(KINDS[kind].console)
    scanner.feed(b'192.0.2.7 "GET /?said=' + CRASHES[kind] + b' HTTP/1.1" 404\n')
    assert (scanner.verdict, scanner.ended) == (None, False)


def test_end_is_reported_once_by_the_chunk_that_completes_the_line() -> None:
    scanner = ConsoleScanner(RUMPRUN.console)
    assert [scanner.feed(chunk) for chunk in (b"hal", b"ted", b"\n", b"halted\n")] == [False, False, True, False]
    assert scanner.verdict is None


def test_last_line_without_newline_counts_when_the_console_closes() -> None:
    scanner = ConsoleScanner(RUMPRUN.console)
    assert not scanner.feed(b"FATAL TRAP: 13")
    assert not scanner.ended
    scanner.close()
    result = (scanner.verdict, scanner.ended, scanner.last_line)
    assert result == (Verdict("guest-panic"), True, "FATAL TRAP: 13")


def test_later_line_overrules_an_earlier_one() -> None:
    assert outcome([b"=== _exit(0) called ===\n_lwpabort() called\n"])[0] == Verdict("guest-panic")


def test_first_matching_pattern_decides() -> None:
    first = ConsolePattern(re.compile(b"a"), lambda _match: Verdict("guest-panic"))
    second = ConsolePattern(re.compile(b"ab"), lambda _match: Verdict("guest-exit", 0), final=True)
    scanner = ConsoleScanner([first, second])
    assert not scanner.feed(b"ab\n")
    assert scanner.verdict == Verdict("guest-panic")


def test_only_the_beginning_of_a_long_line_is_scanned() -> None:
    padding = b" " * (MAX_LINE_BYTES - len(b"_lwpabort() called"))
    assert outcome([padding + b"_lwpabort() called\n"])[0] == Verdict("guest-panic")
    assert outcome([padding + b" _lwpabort() called\n"])[0] is None


def test_endless_line_is_kept_in_bounded_memory() -> None:
    scanner = ConsoleScanner(RUMPRUN.console)
    for _ in range(100):
        scanner.feed(b"x" * 4096)
    assert len(scanner._line) <= MAX_LINE_BYTES


def test_bytes_that_are_not_text_are_replaced() -> None:
    assert outcome([b"=== bootstrap failed \xff\n"])[2] == "=== bootstrap failed \N{REPLACEMENT CHARACTER}"


def test_scanner_without_patterns_keeps_nothing() -> None:
    scanner = ConsoleScanner([])
    assert not scanner.feed(b"halted\n")
    scanner.close()
    assert (scanner.verdict, scanner.ended, scanner.last_line) == (None, False, "")
