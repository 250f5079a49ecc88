"""DNS servers and search domain, from files that Docker, the host and the container's owner write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.kinds.dns import Names, Resolv, names_of, parse_resolv

EMPTY = parse_resolv("")
HOST = parse_resolv("nameserver 192.0.2.53\nsearch example.com corp.example.com\n")
EMBEDDED = "nameserver 127.0.0.11\noptions ndots:0\n"


def test_the_default_bridge_has_the_servers_themselves() -> None:
    own = parse_resolv("# made by Docker\nsearch lan\nnameserver 192.0.2.1\nnameserver 2001:db8::1 # second\n")
    assert names_of(Names(), own, [HOST]) == Names(("192.0.2.1", "2001:db8::1"), "lan")


@pytest.mark.parametrize(
    ("comment", "servers"),
    [
        ("# ExtServers: [192.0.2.7 host(192.0.2.8)]", ("192.0.2.7", "192.0.2.8")),
        ("# ExtServers: [host(127.0.0.53)]", ("192.0.2.53",)),
        ("# ExtServers: []", ("192.0.2.53",)),
        ("", ("192.0.2.53",)),
    ],
)
def test_dockers_own_server_is_passed_over_for_those_behind_it(comment: str, servers: tuple[str, ...]) -> None:
    assert names_of(Names(), parse_resolv(EMBEDDED + comment), [HOST]).servers == servers


def test_what_was_asked_for_comes_first() -> None:
    asked = Names(("192.0.2.99",), "asked.example")
    assert names_of(asked, HOST, [HOST]) == asked


def test_a_host_that_asks_itself_names_its_servers_elsewhere() -> None:
    """systemd-resolved: /etc/resolv.conf leads to 127.0.0.53, /run/systemd/resolve/resolv.conf names the others."""
    stub = parse_resolv("nameserver 127.0.0.53\n")
    assert names_of(Names(), parse_resolv(EMBEDDED), [stub, HOST]).servers == ("192.0.2.53",)
    assert names_of(Names(), EMPTY, [stub]).servers == ()


@pytest.mark.parametrize(
    "line", ["nameserver", "nameserver x", "nameserver fe80::1", "search", "search a..b", "#", "x"]
)
def test_what_makes_no_sense_is_passed_over(line: str) -> None:
    assert parse_resolv(line) == Resolv((), (), "")


def test_the_last_word_on_the_domain_counts() -> None:
    assert parse_resolv("domain a.example\nsearch b.example").search == "b.example"


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    names = names_of(Names(), parse_resolv(text), [])
    assert len(names.servers) <= 3
    assert not set(names.search) & set(' "\\\n:,')
