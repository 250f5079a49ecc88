from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.guest.console_scanner import ConsoleScanner
from supervisor.core.kinds.kind import GuestKind, Mount, Verdict
from supervisor.core.kinds.network import GuestNetwork
from supervisor.core.kinds.unikraft import UNIKRAFT, UNIKRAFT_OLD
from supervisor.errors import Rejected

from .examples import BOTH_FAMILIES, NETWORK, NIC, NIC1, NO_GATEWAY, ONLY_IPV6, booted


def test_network_is_one_word_before_the_arguments() -> None:
    boot = booted(UNIKRAFT, "-p 80", NETWORK)
    assert boot.command_line == "vtapd netdev.ip=172.17.0.2/16:172.17.0.1:::kek: -- -p 80"
    assert (boot.modules, boot.notes) == ((), ())


def test_every_network_field_has_its_place() -> None:
    network = replace(NETWORK, dns=("192.0.2.53", "2001:db8::53", "192.0.2.54"), search="example.org")
    boot = booted(UNIKRAFT, "", network)
    assert boot.command_line == "vtapd netdev.ip=172.17.0.2/16:172.17.0.1:192.0.2.53:192.0.2.54:kek:example.org --"
    assert boot.notes == ("Not passed to the guest: DNS server 2001:db8::53.",)


def test_domain_name_takes_precedence_over_the_search_domain() -> None:
    network = replace(NETWORK, domain="example.com", search="example.org")
    boot = booted(UNIKRAFT, "", network)
    assert boot.command_line.endswith(":kek:example.com --")
    assert boot.notes == ("Not passed to the guest: search domain example.org.",)


def test_name_that_a_field_cannot_hold_is_noted() -> None:
    boot = booted(UNIKRAFT, "", replace(NETWORK, hostname="my_app", hostname_chosen=True, domain="a_b"))
    assert boot.command_line == "vtapd netdev.ip=172.17.0.2/16:172.17.0.1:::: --"
    assert boot.notes == ("Not passed to the guest: host name my_app.", "Not passed to the guest: domain name a_b.")


@pytest.mark.parametrize("form", [UNIKRAFT, UNIKRAFT_OLD])
def test_kernel_args_come_before_the_arguments_of_the_program(form: GuestKind) -> None:
    fstab = 'vfs.fstab=[ "initrd0:/:extract::ramfs=1:" ]'
    assert booted(form, "-p 80", kernel_args=fstab).command_line == f"vtapd {fstab} -- -p 80"
    both = booted(form, "web", NETWORK, kernel_args=fstab).command_line
    assert both == booted(form, "web", NETWORK).command_line.replace(" --", f" {fstab} --")


@pytest.mark.parametrize("form", [UNIKRAFT, UNIKRAFT_OLD])
@pytest.mark.parametrize(
    "text", ["a -- b", "--", "x netdev.ip=1.2.3.4/5", "netdev.ipv4_addr=1.2.3.4", 'env.vars=[ "A=b" ]']
)
def test_reserved_kernel_args_are_refused(form: GuestKind, text: str) -> None:
    with pytest.raises(Rejected, match=r"label vtapd.kernel-args=.*parameters other than -- and netdev.ip, env.vars="):
        booted(form, "", kernel_args=text)


@pytest.mark.parametrize("text", ['a "b', '"--"', '"netdev.ip=1.2.3.4/5"'])
def test_quotes_do_not_hide_reserved_kernel_args(text: str) -> None:
    with pytest.raises(Rejected, match=r"label vtapd.kernel-args="):
        booted(UNIKRAFT, "web", kernel_args=text)


@pytest.mark.parametrize("form", [UNIKRAFT, UNIKRAFT_OLD])
def test_disk_mount_is_refused(form: GuestKind) -> None:
    with pytest.raises(
        Rejected, match=r"label vtapd.disk.0='/d,mount=/data' .*no file system for a disk.*vtapd.initrd"
    ):
        booted(form, "", mounts=(Mount(0, "/data", "vtapd.disk.0", "/d,mount=/data", "ext"),))


def test_command_line_too_long_is_refused_by_the_longer_label() -> None:
    assert len(booted(UNIKRAFT, "x" * 60, room_bytes=88).command_line) <= 88
    with pytest.raises(Rejected, match=r"label vtapd.args=.*would have 73, and the image takes at most 40 bytes"):
        booted(UNIKRAFT, "x" * 60, kernel_args="abc", room_bytes=40)
    with pytest.raises(Rejected, match=r"label vtapd.kernel-args="):
        booted(UNIKRAFT_OLD, "a", kernel_args="x" * 60, room_bytes=40)


def test_network_fields_may_be_empty() -> None:
    assert booted(UNIKRAFT, "", GuestNetwork(NO_GATEWAY.nics)).command_line == "vtapd netdev.ip=172.17.0.2/16::::: --"
    assert booted(UNIKRAFT, "web").command_line == "vtapd -- web"


def test_several_cards_are_a_list() -> None:
    words = booted(UNIKRAFT, "", GuestNetwork((NIC, NIC1))).command_line
    assert words == "vtapd netdev.ip=[ 172.17.0.2/16:172.17.0.1:::: 172.18.0.5/24::::: ] --"


def test_variables_are_a_quoted_list() -> None:
    words = booted(UNIKRAFT, "web", None, (("K", "V"), ("SPACE", "a b"))).command_line
    assert words == 'vtapd env.vars=[ "K=V" "SPACE=a b" ] -- web'


@given(st.text(max_size=30), st.text(max_size=30))
def test_names_cannot_add_a_word_or_a_field(hostname: str, search: str) -> None:
    words = booted(UNIKRAFT, "", replace(NETWORK, hostname=hostname, search=search)).command_line.split(" ")
    assert len(words) == 3
    assert words[1].count(":") == 5


def test_before_0_16_the_network_is_three_words() -> None:
    boot = booted(UNIKRAFT_OLD, "-p 80", replace(NETWORK, dns=("192.0.2.53",)))
    assert boot.command_line == (
        "vtapd netdev.ipv4_addr=172.17.0.2 netdev.ipv4_gw_addr=172.17.0.1 netdev.ipv4_subnet_mask=255.255.0.0 -- -p 80"
    )
    assert boot.notes == ("Not passed to the guest: DNS server 192.0.2.53.",)
    assert booted(UNIKRAFT_OLD, "", NO_GATEWAY).command_line == (
        "vtapd netdev.ipv4_addr=172.17.0.2 netdev.ipv4_subnet_mask=255.255.0.0 --"
    )
    assert booted(UNIKRAFT_OLD).command_line == "vtapd --"


@pytest.mark.parametrize("form", [UNIKRAFT, UNIKRAFT_OLD])
def test_ipv6_is_left_out_if_there_is_ipv4(form: GuestKind) -> None:
    boot = booted(form, "", BOTH_FAMILIES)
    assert boot.command_line == booted(form, "", NETWORK).command_line
    assert boot.notes == ("Not passed to the guest: address 2001:db8::2/64 of eth0.",)
    with pytest.raises(Rejected, match=r"vtapd.address"):
        booted(form, "", ONLY_IPV6)


@pytest.mark.parametrize("form", [UNIKRAFT, UNIKRAFT_OLD])
def test_control_characters_are_refused_by_label(form: GuestKind) -> None:
    with pytest.raises(Rejected, match=r"label vtapd.args="):
        booted(form, "a\nb")
    with pytest.raises(Rejected, match=r"label vtapd.kernel-args="):
        booted(form, "", kernel_args="a\nb")


def test_variable_with_a_quote_is_left_out() -> None:
    boot = booted(UNIKRAFT, "", None, (("K", 'a"b'),))
    assert boot.command_line == "vtapd --"
    assert boot.notes == ("Not passed to the guest: variable 'K': its value may have no double quotes, backslashes.",)


def test_value_that_would_end_the_list_is_left_out() -> None:
    boot = booted(UNIKRAFT, "", None, (("K", "[a]"), ("L", "b")))
    assert boot.command_line == 'vtapd env.vars=[ "L=b" ] --'
    (note,) = boot.notes
    assert note == "Not passed to the guest: variable 'K': its value may not end with ], which would end the list."


def test_variables_beyond_the_usual_maximum_are_noted() -> None:
    variables = tuple((f"V{number}", "a b") for number in range(9))
    assert booted(UNIKRAFT, "", None, variables[:8]).notes == ()
    boot = booted(UNIKRAFT, "", None, variables)
    assert boot.command_line.count("V") == 9
    assert boot.notes == ("A Unikraft image takes 8 variables, unless it was built for more.",)


@pytest.mark.parametrize("form", [UNIKRAFT, UNIKRAFT_OLD])
def test_too_many_words_are_refused_by_the_longer_label(form: GuestKind) -> None:
    assert booted(form, " ".join(["x"] * 57)).command_line.count("x") == 57
    with pytest.raises(Rejected, match=r"label vtapd.args=.*would have 60, and the image takes at most 59 arguments"):
        booted(form, " ".join(["x"] * 58))
    assert booted(form, '"' + " ".join(["x"] * 80) + '"').command_line.count("x") == 80


def test_variables_beyond_the_maximum_of_words_are_left_out() -> None:
    boot = booted(UNIKRAFT, " ".join(["x"] * 54), None, (("A", "1"), ("B", "2")))
    assert 'env.vars=[ "A=1" ]' in boot.command_line
    assert boot.notes == ("Not passed to the guest: variable 'B': the guest takes at most 1 variables.",)


def test_old_form_takes_no_environment() -> None:
    with pytest.raises(Rejected, match=r"label vtapd.env='true' .*a unikraft \(older than 0.16\) guest takes no"):
        booted(UNIKRAFT_OLD, "", None, (("K", "V"),))


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("CRIT: [libmusl] <abort.c @   21> abort called", Verdict("guest-panic")),
        (
            "[    1.234567] CRIT: [libkvmplat] <traps.c @   83> Unhandled Trap 13 (general protection)",
            Verdict("guest-panic"),
        ),
        ("[    1.234567] CRIT: <0x7fdd0000> [libnginx] <main.c @ 9> Assertion failure: x", Verdict("guest-panic")),
        ("\x1b[0m\x1b[32m[    0.1]\x1b[0m \x1b[1;31mCRIT:\x1b[0m [libmusl] abort called", Verdict("guest-panic")),
        ("[    0.123456] Info: [libukboot] <boot.c @  544> main returned 7, halting system", Verdict("guest-exit", 7)),
        ("[    0.195844] ERR:  [libposix_process] Unsupported resource 6", None),
        ("CRIT: [libkvmplat] <traps.c @  113> Crashing", Verdict("guest-panic")),
        ("ERR:  [libukboot] <boot.c @  321> Init function at 0x12a0 returned error -22", Verdict("guest-panic")),
        ("GET /CRIT: [libmusl] abort called HTTP/1.1", None),
        ("main returned 3", None),
        ("abort called", None),
    ],
)
def test_console_line_gives_the_verdict(line: str, verdict: Verdict | None) -> None:
    scanner = ConsoleScanner(UNIKRAFT.console)
    assert not scanner.feed(f"{line}\r\n".encode()), "QEMU ends by itself"
    assert scanner.verdict == verdict
