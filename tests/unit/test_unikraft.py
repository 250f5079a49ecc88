from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.console import ConsoleScanner
from supervisor.core.guests.kind import GuestKind, Verdict
from supervisor.core.guests.network import GuestNetwork
from supervisor.core.guests.unikraft import UNIKRAFT, UNIKRAFT_OLD
from supervisor.errors import Rejected

from .things import BOTH_FAMILIES, NETWORK, NIC, NIC1, NO_GATEWAY, OFF_LINK, ONLY_IPV6


def test_the_network_is_one_word_before_the_arguments() -> None:
    boot = UNIKRAFT.boot("-p 80", NETWORK, ())
    assert boot.command_line == "vtapd netdev.ip=172.17.0.2/16:172.17.0.1:::kek: -- -p 80"
    assert (boot.modules, boot.notes) == ((), ())


def test_every_field_has_its_place() -> None:
    network = replace(NETWORK, dns=("192.0.2.53", "2001:db8::53", "192.0.2.54"), search="example.org")
    boot = UNIKRAFT.boot("", network, ())
    assert boot.command_line == "vtapd netdev.ip=172.17.0.2/16:172.17.0.1:192.0.2.53:192.0.2.54:kek:example.org --"
    assert boot.notes == ("The guest is not told of DNS server 2001:db8::53.",)


def test_fields_may_be_empty() -> None:
    assert UNIKRAFT.boot("", GuestNetwork(NO_GATEWAY.nics), ()).command_line == "vtapd netdev.ip=172.17.0.2/16::::: --"
    assert UNIKRAFT.boot("web", None, ()).command_line == "vtapd -- web"


def test_several_cards_are_a_list() -> None:
    words = UNIKRAFT.boot("", GuestNetwork((NIC, NIC1)), ()).command_line
    assert words == "vtapd netdev.ip=[ 172.17.0.2/16:172.17.0.1:::: 172.18.0.5/24::::: ] --"


def test_variables_are_a_list_in_quotes() -> None:
    words = UNIKRAFT.boot("web", None, (("K", "V"), ("SPACE", "a b"))).command_line
    assert words == 'vtapd env.vars=[ "K=V" "SPACE=a b" ] -- web'


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_name_of_the_container_adds_a_word_or_a_field(hostname: str, search: str) -> None:
    words = UNIKRAFT.boot("", replace(NETWORK, hostname=hostname, search=search), ()).command_line.split(" ")
    assert len(words) == 3
    assert words[1].count(":") == 5


def test_before_0_16_it_was_three_words() -> None:
    boot = UNIKRAFT_OLD.boot("-p 80", replace(NETWORK, dns=("192.0.2.53",)), ())
    assert boot.command_line == (
        "vtapd netdev.ipv4_addr=172.17.0.2 netdev.ipv4_gw_addr=172.17.0.1 netdev.ipv4_subnet_mask=255.255.0.0 -- -p 80"
    )
    assert boot.notes == ("The guest is not told of DNS server 192.0.2.53.",)
    assert UNIKRAFT_OLD.boot("", NO_GATEWAY, ()).command_line == (
        "vtapd netdev.ipv4_addr=172.17.0.2 netdev.ipv4_subnet_mask=255.255.0.0 --"
    )
    assert UNIKRAFT_OLD.boot("", None, ()).command_line == "vtapd --"


@pytest.mark.parametrize("form", [UNIKRAFT, UNIKRAFT_OLD])
def test_ipv6_is_left_out_where_there_is_ipv4(form: GuestKind) -> None:
    boot = form.boot("", BOTH_FAMILIES, ())
    assert boot.command_line == form.boot("", NETWORK, ()).command_line
    assert boot.notes == ("The guest is not told of address 2001:db8::2/64 of eth0.",)
    for network in (ONLY_IPV6, OFF_LINK):
        with pytest.raises(Rejected, match=r"vtapd.address"):
            form.boot("", network, ())


@pytest.mark.parametrize("form", [UNIKRAFT, UNIKRAFT_OLD])
def test_what_cannot_be_said_is_refused_by_its_label(form: GuestKind) -> None:
    with pytest.raises(Rejected, match=r"label vtapd.args="):
        form.boot("a\nb", None, ())
    with pytest.raises(Rejected, match=r"label vtapd.env="):
        form.boot("", None, (("K", 'a"b'),))


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
        ("GET /CRIT: [libmusl] abort called HTTP/1.1", None),
        ("main returned 3", None),
        ("abort called", None),
    ],
)
def test_what_a_line_tells(line: str, verdict: Verdict | None) -> None:
    scanner = ConsoleScanner(UNIKRAFT.console)
    assert not scanner.feed(f"{line}\r\n".encode()), "QEMU ends by itself"
    assert scanner.verdict == verdict
