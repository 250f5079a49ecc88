from dataclasses import replace

import pytest

from supervisor.core.attach.actions import StartGuest
from supervisor.core.attach.state import Desired
from supervisor.core.guest.addressing import notes_on_others
from supervisor.core.guest.console_scanner import ConsoleScanner
from supervisor.core.kinds.kind import Mount, Verdict
from supervisor.core.kinds.mirage import MIRAGE
from supervisor.core.kinds.network import GuestNetwork
from supervisor.errors import Rejected

from .examples import BOTH_FAMILIES, ETH0, ETH1, NETWORK, NIC, NO_GATEWAY, ONLY_IPV6, booted
from .simulated_host import SimulatedHost


def test_network_is_passed_by_mirage_keys() -> None:
    boot = booted(MIRAGE, '--greeting="hiya, gump"', NETWORK)
    assert boot.command_line == '--ipv4=172.17.0.2/16 --ipv4-gateway=172.17.0.1 --greeting="hiya, gump"'
    assert booted(MIRAGE, "", NO_GATEWAY).command_line == "--ipv4=172.17.0.2/16"
    assert booted(MIRAGE).command_line == ""


def test_ipv6_is_passed_with_ipv4_and_alone() -> None:
    assert booted(MIRAGE, "", BOTH_FAMILIES).command_line == (
        "--ipv4=172.17.0.2/16 --ipv4-gateway=172.17.0.1 --ipv6=2001:db8::2/64 --ipv6-gateway=2001:db8::1"
    )
    assert booted(MIRAGE, "", BOTH_FAMILIES).notes == ()
    assert booted(MIRAGE, "", ONLY_IPV6).command_line == "--ipv6=2001:db8::2/64"


def test_second_card_is_left_out_and_noted() -> None:
    desired = Desired(True, takeover=True, guest=True, cards=MIRAGE.most_cards, ip_versions=MIRAGE.ip_versions)
    start = SimulatedHost({"eth0": ETH0, "eth1": ETH1}).converge(desired)[-1]
    assert isinstance(start, StartGuest)
    assert [uplink.original for uplink in start.uplinks] == [ETH0]
    (note,) = notes_on_others(start.others, MIRAGE.ip_versions)
    assert note.startswith("The guest has no card on eth1, which stays with the container: ")
    assert note.endswith(": a guest of this kind can be given no more cards.")


def test_unsupported_labels_are_refused_by_name() -> None:
    with pytest.raises(Rejected, match=r"vtapd.address"):
        booted(MIRAGE, "", GuestNetwork((replace(NIC, addresses=()),)))
    with pytest.raises(Rejected, match=r"vtapd.env='true'.*a mirage guest takes no environment"):
        booted(MIRAGE, "", None, (("K", "V"),))
    with pytest.raises(Rejected, match=r"vtapd.args"):
        booted(MIRAGE, "a\x7f")


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
def test_console_line_gives_the_verdict(line: str, verdict: Verdict | None) -> None:
    scanner = ConsoleScanner(MIRAGE.console)
    assert not scanner.feed(f"{line}\n".encode())
    assert scanner.verdict == verdict


def test_halt_line_of_solo5_before_0_12_ends_the_guest() -> None:
    scanner = ConsoleScanner(MIRAGE.console)
    assert scanner.feed(b"Solo5: solo5_exit(0) called\nSolo5: Halted\n")
    assert scanner.verdict == Verdict("guest-exit", 0)


def test_kernel_args_and_mounts_are_refused_by_label() -> None:
    with pytest.raises(Rejected, match=r"label vtapd.kernel-args='x' .*system of a mirage guest takes no arguments"):
        booted(MIRAGE, kernel_args="x")
    with pytest.raises(Rejected, match=r"label vtapd.disk.0='/d,mount=/x' .*a disk without mount="):
        booted(MIRAGE, mounts=(Mount(0, "/x", "vtapd.disk.0", "/d,mount=/x", "ext"),))
