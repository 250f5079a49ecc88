from dataclasses import replace

import pytest

from supervisor.core.console import ConsoleScanner
from supervisor.core.guests.kind import Verdict
from supervisor.core.guests.mirage import MIRAGE
from supervisor.core.guests.network import GuestNetwork
from supervisor.errors import Rejected

from .things import BOTH_FAMILIES, NETWORK, NIC, NIC1, NO_GATEWAY, OFF_LINK, ONLY_IPV6


def test_the_network_goes_by_its_own_keys() -> None:
    boot = MIRAGE.boot('--greeting="hiya, gump"', NETWORK, ())
    assert boot.command_line == '--ipv4=172.17.0.2/16 --ipv4-gateway=172.17.0.1 --greeting="hiya, gump"'
    assert MIRAGE.boot("", NO_GATEWAY, ()).command_line == "--ipv4=172.17.0.2/16"
    assert MIRAGE.boot("", None, ()).command_line == ""


def test_it_takes_ipv6_too_and_alone() -> None:
    assert MIRAGE.boot("", BOTH_FAMILIES, ()).command_line == (
        "--ipv4=172.17.0.2/16 --ipv4-gateway=172.17.0.1 --ipv6=2001:db8::2/64 --ipv6-gateway=2001:db8::1"
    )
    assert MIRAGE.boot("", BOTH_FAMILIES, ()).notes == ()
    assert MIRAGE.boot("", ONLY_IPV6, ()).command_line == "--ipv6=2001:db8::2/64"


def test_an_ipv6_gateway_off_link_is_left_out_and_that_is_said() -> None:
    network = GuestNetwork((replace(BOTH_FAMILIES.nics[0], gateway6="fe80::1"),))
    boot = MIRAGE.boot("", network, ())
    assert boot.command_line.endswith("--ipv6=2001:db8::2/64")
    assert boot.notes == ("The guest is not told of gateway fe80::1 of eth0, which is on no link of its.",)


def test_a_second_card_is_left_out_and_that_is_said() -> None:
    assert MIRAGE.boot("", GuestNetwork((NIC, NIC1)), ()).notes == ("The guest is not told of eth1.",)


def test_what_cannot_be_said_is_refused_by_its_label() -> None:
    for network in (OFF_LINK, GuestNetwork((replace(NIC, addresses=()),))):
        with pytest.raises(Rejected, match=r"vtapd.address"):
            MIRAGE.boot("", network, ())
    with pytest.raises(Rejected, match=r"vtapd.env='true'.*a mirage guest takes no environment"):
        MIRAGE.boot("", None, (("K", "V"),))
    with pytest.raises(Rejected, match=r"vtapd.args"):
        MIRAGE.boot("a\x7f", None, ())


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("Solo5: solo5_exit(0) called", Verdict("guest-exit", 0)),
        ("Solo5: solo5_exit(7) called", Verdict("guest-exit", 7)),
        ("Solo5: solo5_abort() called", Verdict("guest-panic")),
        ("Solo5: ABORT: cpu_x86_64.c:181: Fatal trap", Verdict("guest-panic")),
        ("Solo5: trap: type=#GP ec=0x0 rip=0x103a96 rsp=0xfffff90 rflags=0x2", None),
        ("GET /Solo5: solo5_exit(1) called HTTP/1.1", None),
        ("Solo5: solo5_exit(1) called it a day", None),
    ],
)
def test_what_a_line_tells(line: str, verdict: Verdict | None) -> None:
    scanner = ConsoleScanner(MIRAGE.console)
    assert not scanner.feed(f"{line}\n".encode())
    assert scanner.verdict == verdict


def test_before_0_12_it_only_halts() -> None:
    scanner = ConsoleScanner(MIRAGE.console)
    assert scanner.feed(b"Solo5: solo5_exit(0) called\nSolo5: Halted\n")
    assert scanner.verdict == Verdict("guest-exit", 0)
