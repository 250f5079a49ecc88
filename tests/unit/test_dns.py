"""DNS servers and search domain, read from files that Docker, the host or the container's owner writes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.kinds.dns import Names, Resolv, named_servers, names_of, parse_resolv

EMPTY = parse_resolv("")
HOST = parse_resolv("nameserver 192.0.2.53\nsearch example.com corp.example.com\n")
EMBEDDED = "nameserver 127.0.0.11\noptions ndots:0\n"


def test_container_resolv_conf_gives_the_servers() -> None:
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
def test_embedded_dns_server_is_replaced_by_its_upstream_servers(comment: str, servers: tuple[str, ...]) -> None:
    assert names_of(Names(), parse_resolv(EMBEDDED + comment), [HOST]).servers == servers


def test_dns_options_of_docker_run_take_precedence() -> None:
    asked = Names(("192.0.2.99",), "asked.example")
    assert names_of(asked, HOST, [HOST]) == asked


def test_stub_resolver_of_the_host_is_replaced_by_its_upstream_servers() -> None:
    """With systemd-resolved, /run/systemd/resolve/resolv.conf names the upstream servers of 127.0.0.53."""
    stub = parse_resolv("nameserver 127.0.0.53\n")
    assert names_of(Names(), parse_resolv(EMBEDDED), [stub, HOST]).servers == ("192.0.2.53",)
    assert names_of(Names(), EMPTY, [stub]).servers == ()


@pytest.mark.parametrize(
    "line", ["nameserver", "nameserver x", "nameserver fe80::1", "search", "search a..b", "#", "x"]
)
def test_invalid_line_is_skipped(line: str) -> None:
    assert parse_resolv(line) == Resolv((), (), "")


def test_last_domain_or_search_line_counts() -> None:
    assert parse_resolv("domain a.example\nsearch b.example").search == "b.example"


def test_processes_ask_servers_on_loopback_too() -> None:
    text = "nameserver 127.0.0.11\nnameserver\nnameserver 0.0.0.0\nnameserver x\nnameserver fe80::1\noptions ndots:0\n"
    assert named_servers(text) == ("127.0.0.11", "fe80::1")
    assert named_servers("nameserver 192.0.2.1\n" * 9) == ("192.0.2.1",) * 3


@given(st.text())
def test_any_text_is_parsed(text: str) -> None:
    names = names_of(Names(), parse_resolv(text), [])
    assert len(names.servers) <= 3
    assert not set(names.search) & set(' "\\\n:,')
