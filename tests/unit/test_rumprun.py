import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.console import ConsoleScanner
from supervisor.core.guests.kind import Boot, Verdict
from supervisor.core.guests.network import GuestNetwork
from supervisor.core.guests.rumprun import MAX_CONFIG_BYTES, RUMPRUN
from supervisor.errors import Rejected

from .things import BOTH_FAMILIES, NETWORK, NIC, NIC1, NO_GATEWAY, OFF_LINK

NET = {"if": "vioif0", "type": "inet", "method": "static", "addr": "172.17.0.2", "mask": "16", "gw": "172.17.0.1"}


def config(boot: Boot) -> object:
    (module,) = boot.modules
    return json.loads(module)


def test_the_configuration_goes_by_module_and_not_by_the_command_line() -> None:
    boot = RUMPRUN.boot("web -p 80", NETWORK, ())
    assert boot.command_line == ""
    assert boot.modules == (
        b'{"cmdline": "web -p 80", "net": {"if": "vioif0", "type": "inet", "method": "static", '
        b'"addr": "172.17.0.2", "mask": "16", "gw": "172.17.0.1"}}',
    )


def test_without_a_network_or_a_gateway_it_is_not_mentioned() -> None:
    assert config(RUMPRUN.boot("web", None, ())) == {"cmdline": "web"}
    without = {name: value for name, value in NET.items() if name != "gw"}
    assert config(RUMPRUN.boot("web", NO_GATEWAY, ())) == {"cmdline": "web", "net": without}


@pytest.mark.parametrize("blank", ["", "   "])
def test_a_command_line_there_is_always(blank: str) -> None:
    assert config(RUMPRUN.boot(blank, None, ())) == {"cmdline": "guest"}


SAYABLE = st.characters(exclude_characters='"\\', exclude_categories=("C", "Zl", "Zp"))


@given(st.text(SAYABLE, max_size=300))
def test_every_printable_text_arrives_as_it_was_written(args: str) -> None:
    assert config(RUMPRUN.boot(args, NETWORK, ())) == {"cmdline": args if args.strip() else "guest", "net": NET}


@given(st.text(max_size=20), st.sampled_from(['"', "\\", "\0", "\n", "\x1b", "\x7f"]), st.text(max_size=20))
def test_what_its_parser_cannot_read_back_is_refused(before: str, bad: str, after: str) -> None:
    with pytest.raises(Rejected, match=r"label vtapd.args=.*quotes, backslashes, control characters"):
        RUMPRUN.boot("x" + before + bad + after + "x", NETWORK, ())


def test_the_configuration_has_its_largest_size_and_no_more() -> None:
    frame = len(b'{"cmdline": ""}')
    (largest,) = RUMPRUN.boot("é" * ((MAX_CONFIG_BYTES - frame) // 2), None, ()).modules
    assert len(largest) == MAX_CONFIG_BYTES
    with pytest.raises(Rejected, match=f"{MAX_CONFIG_BYTES} bytes of configuration.* 4096"):
        RUMPRUN.boot("x" * (MAX_CONFIG_BYTES - frame + 1), None, ())


def test_every_card_and_both_families_are_told() -> None:
    network = GuestNetwork((*BOTH_FAMILIES.nics, NIC1))
    (module,) = RUMPRUN.boot("web", network, ()).modules
    nets = [value for key, value in json.loads(module, object_pairs_hook=list) if key == "net"]
    net6 = {"if": "vioif0", "type": "inet6", "method": "static", "addr": "2001:db8::2", "mask": "64"}
    net1 = {"if": "vioif1", "type": "inet", "method": "static", "addr": "172.18.0.5", "mask": "24"}
    assert [dict(net) for net in nets] == [NET, net6 | {"gw": "2001:db8::1"}, net1]


def test_variables_are_a_key_that_repeats() -> None:
    (module,) = RUMPRUN.boot("web", None, (("K", "V"), ("SPACE", "a b=c"))).modules
    assert module == b'{"cmdline": "web", "env": "K=V", "env": "SPACE=a b=c"}'


@pytest.mark.parametrize("variable", [("K", 'a"b'), ("K", "a\\"), ("K", "\n"), ("a-b", "c")])
def test_a_variable_that_cannot_be_said_is_refused(variable: tuple[str, str]) -> None:
    with pytest.raises(Rejected, match=r"label vtapd.env="):
        RUMPRUN.boot("web", None, (variable,))


def test_variables_that_are_too_many_are_refused() -> None:
    with pytest.raises(Rejected, match=f"label vtapd.env='true' .*{MAX_CONFIG_BYTES} bytes"):
        RUMPRUN.boot("web", None, (("K", "x" * MAX_CONFIG_BYTES),))


def test_a_gateway_off_the_link_is_refused() -> None:
    with pytest.raises(Rejected, match=r"vtapd.address=.*192.0.2.1 is not in eth0's 172.17.0.2/16"):
        RUMPRUN.boot("web", OFF_LINK, ())


def test_dns_servers_are_left_out_and_that_is_said() -> None:
    assert RUMPRUN.boot("web", GuestNetwork((NIC,), dns=("192.0.2.53",)), ()).notes == (
        "The guest is not told of DNS server 192.0.2.53.",
    )


@pytest.mark.parametrize(
    "line",
    ["GET /halted HTTP/1.1", "halted by request", "say === _exit(3) called ===", "_lwpabort() called for", "halt"],
)
def test_a_line_that_only_looks_like_an_end_is_none(line: str) -> None:
    scanner = ConsoleScanner(RUMPRUN.console)
    assert not scanner.feed(f"{line}\n".encode())
    assert scanner.verdict is None


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


def test_it_can_be_told_to_ask() -> None:
    boot = RUMPRUN.boot("web", replace(NETWORK, dhcp=True), ())
    (config,) = (json.loads(module) for module in boot.modules)
    assert config["net"] == {"if": "vioif0", "type": "inet", "method": "dhcp"}
    assert boot.notes == ()
