import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.console import ConsoleScanner
from supervisor.core.guests.kind import Boot, Verdict
from supervisor.core.guests.rumprun import MAX_CONFIG_BYTES, RUMPRUN

from .things import NETWORK

NET = {"if": "vioif0", "type": "inet", "method": "static", "addr": "172.17.0.2", "mask": "16", "gw": "172.17.0.1"}


def config(boot: Boot) -> object:
    (module,) = boot.modules
    return json.loads(module)


def test_the_configuration_goes_by_module_and_not_by_the_command_line() -> None:
    boot = RUMPRUN.boot("web -p 80", NETWORK)
    assert boot.command_line == ""
    assert boot.modules == (
        b'{"cmdline": "web -p 80", "net": {"if": "vioif0", "type": "inet", "method": "static", '
        b'"addr": "172.17.0.2", "mask": "16", "gw": "172.17.0.1"}}',
    )


def test_without_a_network_or_a_gateway_it_is_not_mentioned() -> None:
    assert config(RUMPRUN.boot("web", None)) == {"cmdline": "web"}
    without = {name: value for name, value in NET.items() if name != "gw"}
    assert config(RUMPRUN.boot("web", replace(NETWORK, gateway=None))) == {"cmdline": "web", "net": without}


@pytest.mark.parametrize("blank", ["", "   "])
def test_a_command_line_there_is_always(blank: str) -> None:
    assert config(RUMPRUN.boot(blank, None)) == {"cmdline": "guest"}


SAYABLE = st.characters(exclude_characters='"\\', exclude_categories=("C", "Zl", "Zp"))


@given(st.text(SAYABLE, max_size=300))
def test_every_printable_text_arrives_as_it_was_written(args: str) -> None:
    assert config(RUMPRUN.boot(args, NETWORK)) == {"cmdline": args if args.strip() else "guest", "net": NET}


@given(st.text(max_size=20), st.sampled_from(['"', "\\", "\0", "\n", "\x1b", "\x7f"]), st.text(max_size=20))
def test_what_its_parser_cannot_read_back_is_refused(before: str, bad: str, after: str) -> None:
    with pytest.raises(ValueError, match=r"quote.* backslash .*control character|surrogates"):
        RUMPRUN.boot("x" + before + bad + after + "x", NETWORK)


def test_the_configuration_has_its_largest_size_and_no_more() -> None:
    frame = len(b'{"cmdline": ""}')
    (largest,) = RUMPRUN.boot("é" * ((MAX_CONFIG_BYTES - frame) // 2), None).modules
    assert len(largest) == MAX_CONFIG_BYTES
    with pytest.raises(ValueError, match=f"{MAX_CONFIG_BYTES} bytes of configuration.* 4096"):
        RUMPRUN.boot("x" * (MAX_CONFIG_BYTES - frame + 1), None)


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ('=== main() of "web" returned 0 ===', Verdict("guest-exit", 0)),
        ('=== main() of "say "hi" returned 3 ===" returned 7 ===', Verdict("guest-exit", 7)),
        ("=== _exit(0) called ===", Verdict("guest-exit", 0)),
        ("=== ERROR: _exit(7) called ===", Verdict("guest-exit", 7)),
        ("_lwpabort() called", Verdict("guest-panic")),
        ("FATAL TRAP: 6 at 0x1000", Verdict("guest-panic")),
        ("=== bootstrap failed", Verdict("guest-panic")),
        ('=== calling "web" main() ===', None),
        ("it halted", None),
        ("A FATAL TRAP: not at the start", None),
    ],
)
def test_what_a_line_tells(line: str, verdict: Verdict | None) -> None:
    scanner = ConsoleScanner(RUMPRUN.console)
    scanner.feed(f"\n{line}\r\n".encode())
    assert scanner.verdict == verdict


@pytest.mark.parametrize("line", ['=== main() of "web" returned -1 ===', "=== ERROR: _exit(-1) called ==="])
def test_a_negative_code_is_a_code(line: str) -> None:
    scanner = ConsoleScanner(RUMPRUN.console)
    scanner.feed(f"{line}\nhalted\n".encode())
    assert scanner.verdict is not None
    assert scanner.verdict.reason == "guest-exit"


def test_a_clean_end_is_told_by_the_console_alone() -> None:
    scanner = ConsoleScanner(RUMPRUN.console)
    assert not scanner.feed(b'=== main() of "web" returned 0 ===\n=== _exit(0) called ===\n')
    assert scanner.feed(b"rump kernel halting...\nhalted\n")
    assert scanner.verdict == Verdict("guest-exit", 0)
    assert scanner.last_line == "=== _exit(0) called ==="


def test_the_kind_cannot_be_asked_to_end() -> None:
    assert RUMPRUN.stop.name == "QUIT"
    assert all(isinstance(pattern.regex, re.Pattern) for pattern in RUMPRUN.console)
