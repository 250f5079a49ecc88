import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.guest.console_scanner import ConsoleScanner
from supervisor.core.kinds.hermit import HERMIT
from supervisor.core.kinds.kind import Mount, Verdict
from supervisor.errors import Rejected

from .examples import BOTH_FAMILIES, NETWORK, NO_GATEWAY, ONLY_IPV6, booted


def test_options_come_before_the_arguments_of_the_program() -> None:
    boot = booted(HERMIT, "-p 80", NETWORK, (("K", "V"),))
    assert boot.command_line == "-ip 172.17.0.2 -mask 255.255.0.0 -gateway 172.17.0.1 env=K=V -- -p 80"
    assert booted(HERMIT).command_line == ""


def test_dns_servers_are_passed_as_variables_unless_the_user_sets_them() -> None:
    one = replace(NETWORK, dns=("192.0.2.53",))
    words = "-ip 172.17.0.2 -mask 255.255.0.0 -gateway 172.17.0.1"
    assert booted(HERMIT, "", one).command_line == f"{words} env=HERMIT_DNS1=192.0.2.53 env=HERMIT_DNS2=192.0.2.53"
    two = replace(NETWORK, dns=("192.0.2.53", "2001:db8::53", "192.0.2.54"))
    assert booted(HERMIT, "", two).command_line.endswith("env=HERMIT_DNS1=192.0.2.53 env=HERMIT_DNS2=192.0.2.54")
    assert booted(HERMIT, "", two).notes == ("Not passed to the guest: DNS server 2001:db8::53.",)
    own = booted(HERMIT, "", one, (("HERMIT_DNS1", "203.0.113.1"),))
    assert own.command_line == f"{words} env=HERMIT_DNS1=203.0.113.1"


def test_missing_gateway_is_replaced_by_the_guests_own_address() -> None:
    assert booted(HERMIT, "", NO_GATEWAY).command_line.endswith("-gateway 172.17.0.2")


@given(st.text(st.characters(exclude_categories=("C", "Z")), max_size=40), st.sampled_from(["", " ", "' \""]))
def test_every_value_survives_the_quoting(value: str, more: str) -> None:
    words = shlex.split(booted(HERMIT, "x", None, (("K", value + more + "."),)).command_line)
    assert words == [f"env=K={value}{more}.", "--", "x"]


def test_ipv6_is_left_out_if_there_is_ipv4() -> None:
    assert booted(HERMIT, "", BOTH_FAMILIES).notes == ("Not passed to the guest: address 2001:db8::2/64 of eth0.",)
    with pytest.raises(Rejected, match=r"vtapd.address"):
        booted(HERMIT, "", ONLY_IPV6)


def test_control_characters_are_refused_by_label() -> None:
    with pytest.raises(Rejected, match=r"vtapd.args"):
        booted(HERMIT, "\n")
    boot = booted(HERMIT, "", None, (("K", "\n"),))
    assert boot.command_line == ""
    assert boot.notes == ("Not passed to the guest: variable 'K': its value may have no control characters.",)


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("[0][PANIC] panicked at src/main.rs:3:5:", Verdict("guest-panic")),
        ("[            ][0][PANIC] panicked at src/main.rs:3:5:", Verdict("guest-panic")),
        ("[0][!!!PANIC!!!] panicked at 'x'", Verdict("guest-panic")),
        ("[0][INFO] Shutting down system", None),
        ("[   0.1][0][ERROR hermit    ] Invalid Opcode (#UD) Exception: 0x0", Verdict("guest-panic")),
        ("[0][ERROR] Page fault (#PF)!", Verdict("guest-panic")),
        ("[0][ERROR] cannot open #PF", None),
        ("GET /[0][PANIC] HTTP/1.1", None),
    ],
)
def test_console_line_gives_the_verdict(line: str, verdict: Verdict | None) -> None:
    scanner = ConsoleScanner(HERMIT.console)
    assert not scanner.feed(f"{line}\n".encode())
    assert scanner.verdict == verdict


def test_kernel_args_and_mounts_are_refused_by_label() -> None:
    with pytest.raises(Rejected, match=r"label vtapd.kernel-args='x' .*system of a hermit guest takes no arguments"):
        booted(HERMIT, kernel_args="x")
    with pytest.raises(Rejected, match=r"label vtapd.disk.0='/d,mount=/x' .*a disk without mount="):
        booted(HERMIT, mounts=(Mount(0, "/x", "vtapd.disk.0", "/d,mount=/x", "ext"),))
