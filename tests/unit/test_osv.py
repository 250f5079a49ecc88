from dataclasses import replace

import pytest

from supervisor.core.console import ConsoleScanner
from supervisor.core.guests.kind import Verdict
from supervisor.core.guests.network import GuestNetwork
from supervisor.core.guests.osv import OSV
from supervisor.errors import Rejected

from .things import BOTH_FAMILIES, NETWORK, NIC, NIC1, OFF_LINK, ONLY_IPV6


def test_options_come_before_the_program() -> None:
    boot = OSV.boot("/web -p 80", replace(NETWORK, dns=("192.0.2.53", "192.0.2.54")), (("K", "V"), ("L", "")))
    assert boot.command_line == (
        "--ip=eth0,172.17.0.2,255.255.0.0 --defaultgw=172.17.0.1 --nameserver=192.0.2.53 --env=K=V --env=L= /web -p 80"
    )
    assert boot.notes == ("The guest is not told of DNS server 192.0.2.54.",)
    assert OSV.boot("/web", None, ()).command_line == "/web"
    assert OSV.boot("", None, ()).command_line == ""


def test_several_cards_and_their_one_gateway() -> None:
    assert OSV.boot("", GuestNetwork((NIC1, NIC)), ()).command_line == (
        "--ip=eth1,172.18.0.5,255.255.255.0 --ip=eth0,172.17.0.2,255.255.0.0 --defaultgw=172.17.0.1"
    )
    assert "defaultgw" not in OSV.boot("", GuestNetwork((NIC1,)), ()).command_line


def test_ipv6_is_left_out_where_there_is_ipv4() -> None:
    assert OSV.boot("", BOTH_FAMILIES, ()).notes == ("The guest is not told of address 2001:db8::2/64 of eth0.",)
    for network in (ONLY_IPV6, OFF_LINK):
        with pytest.raises(Rejected, match=r"vtapd.address"):
            OSV.boot("", network, ())


@pytest.mark.parametrize("value", ["a b", 'a"b', "a'b", "a\\", "\t", "\n"])
def test_a_variable_that_would_be_more_than_one_word_is_refused(value: str) -> None:
    with pytest.raises(Rejected, match=r"label vtapd.env=.*blanks"):
        OSV.boot("", None, (("K", value),))


def test_arguments_with_control_characters_are_refused() -> None:
    with pytest.raises(Rejected, match=r"label vtapd.args="):
        OSV.boot("/web\n--verbose", None, ())


def test_a_crash_is_told_by_its_backtrace_which_may_be_finished() -> None:
    scanner = ConsoleScanner(OSV.console)
    assert not scanner.feed(b"page fault outside application, addr: 0x0000000000000000\n\n[back")
    assert scanner.feed(b"trace]\n0x0000000040477678 <__sched_cpucount+40>\n")
    assert scanner.verdict == Verdict("guest-panic")
    assert scanner.last_words_s > 0


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("program /web returned 7", Verdict("guest-exit", 7)),
        ("the program /web returned 7 pages", None),
        ("GET /[backtrace] HTTP/1.1", None),
    ],
)
def test_what_a_line_tells(line: str, verdict: Verdict | None) -> None:
    scanner = ConsoleScanner(OSV.console)
    assert not scanner.feed(f"{line}\n".encode())
    assert scanner.verdict == verdict
