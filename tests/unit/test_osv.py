from dataclasses import replace

import pytest

from supervisor.core.guest.console_scanner import ConsoleScanner
from supervisor.core.kinds.kind import Mount, Verdict
from supervisor.core.kinds.network import GuestNetwork
from supervisor.core.kinds.osv import OSV
from supervisor.errors import Rejected

from .examples import BOTH_FAMILIES, NETWORK, NIC, NIC1, ONLY_IPV6, booted


def test_options_come_before_the_program() -> None:
    boot = booted(OSV, "/web -p 80", replace(NETWORK, dns=("192.0.2.53", "192.0.2.54")), (("K", "V"), ("L", "")))
    assert boot.command_line == (
        "--ip=eth0,172.17.0.2,255.255.0.0 --defaultgw=172.17.0.1 --nameserver=192.0.2.53 --env=K=V --env=L= /web -p 80"
    )
    assert boot.notes == ("Not passed to the guest: DNS server 192.0.2.54.",)
    assert booted(OSV, "/web").command_line == "/web"
    assert booted(OSV).command_line == ""


def test_several_cards_share_one_gateway() -> None:
    assert booted(OSV, "", GuestNetwork((NIC1, NIC))).command_line == (
        "--ip=eth1,172.18.0.5,255.255.255.0 --ip=eth0,172.17.0.2,255.255.0.0 --defaultgw=172.17.0.1"
    )
    assert "defaultgw" not in booted(OSV, "", GuestNetwork((NIC1,))).command_line


def test_ipv6_is_left_out_if_there_is_ipv4() -> None:
    assert booted(OSV, "", BOTH_FAMILIES).notes == ("Not passed to the guest: address 2001:db8::2/64 of eth0.",)
    with pytest.raises(Rejected, match=r"vtapd.address"):
        booted(OSV, "", ONLY_IPV6)


@pytest.mark.parametrize("value", ["a b", 'a"b', "a'b", "a\\", "\t", "\n"])
def test_variable_that_would_become_several_words_is_left_out(value: str) -> None:
    boot = booted(OSV, "/web", None, (("K", value),))
    assert boot.command_line == "/web"
    (note,) = boot.notes
    assert note.startswith("Not passed to the guest: variable 'K': its value may have no ")


def test_kernel_args_are_options_before_the_program() -> None:
    boot = booted(OSV, "/web", kernel_args="--verbose --rootfs=rofs")
    assert boot.command_line == "--verbose --rootfs=rofs /web"


@pytest.mark.parametrize(
    ("text", "allowed"),
    [("/bin/x", "each beginning with --"), ("--cwd /", "each beginning"), ("--ip=eth0,a,b", "other than")],
)
def test_wrong_or_reserved_kernel_args_are_refused(text: str, allowed: str) -> None:
    with pytest.raises(Rejected, match=rf"label vtapd.kernel-args=.*{allowed}"):
        booted(OSV, "/web", kernel_args=text)


def test_disks_are_mounted_with_their_file_system() -> None:
    mounts = (Mount(0, "/data", "vtapd.disk.0", "/a", "ext"), Mount(1, "/www", "vtapd.disk.1", "/b", "rofs"))
    words = booted(OSV, "/web", mounts=mounts).command_line
    assert words == "--mount-fs=ext,/dev/vblk0,/data --mount-fs=rofs,/dev/vblk1,/www /web"
    with pytest.raises(Rejected, match=r"label vtapd.disk.0='/a' .*an ext or rofs file system"):
        booted(OSV, mounts=(replace(mounts[0], file_system=None),))
    with pytest.raises(Rejected, match=r"label vtapd.disk.0='/a' is refused; allowed is a mount point without blanks"):
        booted(OSV, mounts=(replace(mounts[0], where="/a,b"),))


def test_arguments_with_control_characters_are_refused() -> None:
    with pytest.raises(Rejected, match=r"label vtapd.args="):
        booted(OSV, "/web\n--verbose")


def test_backtrace_is_a_panic_and_the_guest_may_finish_it() -> None:
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
        ("unrecognized option: x", Verdict("guest-exit", 1)),
        ("duplicate option: --cwd", Verdict("guest-exit", 1)),
        ("the required argument for option '--cwd' is missing", Verdict("guest-exit", 1)),
        ("an unrecognized option: x", None),
        ("GET /[backtrace] HTTP/1.1", None),
    ],
)
def test_console_line_gives_the_verdict(line: str, verdict: Verdict | None) -> None:
    scanner = ConsoleScanner(OSV.console)
    assert not scanner.feed(f"{line}\n".encode())
    assert scanner.verdict == verdict
