"""/etc/hosts as Docker writes it, and as a container may."""

import ipaddress

from supervisor.core.formats.hosts import Hosts, parse_hosts, parse_name


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def test_file_of_docker_is_read() -> None:
    hosts = parse_hosts("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n172.18.0.2\tweb.example.com web\n")
    assert hosts.addresses[(b"localhost",)] == (packed("127.0.0.1"), packed("::1"))
    assert hosts.addresses[(b"web", b"example", b"com")] == (packed("172.18.0.2"),)
    assert hosts.addresses[(b"web",)] == (packed("172.18.0.2"),)
    assert hosts.names[packed("172.18.0.2")] == (b"web", b"example", b"com")


def test_name_has_each_address_once_in_the_order_of_the_file() -> None:
    hosts = parse_hosts("10.0.0.2 db\n10.0.0.1 DB.\n10.0.0.2 db\n")
    assert hosts.addresses == {(b"db",): (packed("10.0.0.2"), packed("10.0.0.1"))}


def test_what_is_no_entry_is_left_out() -> None:
    text = f"# 10.0.0.1 a\n\n10.0.0.1\nx db\n10.0.0.1 . a..b {'x' * 64} {'.'.join(['x' * 60] * 5)} #db\n"
    assert parse_hosts(text) == Hosts()


def test_scope_of_an_address_is_left_out() -> None:
    assert parse_hosts("fe80::1%eth0 gate").addresses == {(b"gate",): (packed("fe80::1"),)}


def test_name_is_compared_without_case_and_final_dot() -> None:
    assert parse_name("DB.Example.") == (b"db", b"example")
    assert parse_name("") is None
