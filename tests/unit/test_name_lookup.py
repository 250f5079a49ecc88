"""By what a guest's query is answered, and how many queries are."""

import pytest

from supervisor.core.formats import dns
from supervisor.core.formats.hosts import parse_hosts
from supervisor.core.guest.name_lookup import Bucket, Places, answer_from_hosts, choose_outside, is_definite

from .test_dns_messages import message, parsed, question, records

HOSTS = parse_hosts("10.0.0.2 db\nfd00::2 six\n")


def test_name_of_the_hosts_file_is_answered_from_it() -> None:
    answer = answer_from_hosts(parsed("DB"), HOSTS)
    assert answer is not None
    assert records(answer, parsed("DB")) == [bytes((10, 0, 0, 2))]


def test_name_with_addresses_of_the_other_version_alone_has_no_address() -> None:
    query = parsed("db", dns.AAAA)
    answer = answer_from_hosts(query, HOSTS)
    assert answer is not None
    assert dns.rcode_of(answer) == dns.NOERROR
    assert records(answer, query) == []


def test_name_of_an_address_is_answered_from_the_hosts_file() -> None:
    query = parsed("2.0.0.10.in-addr.arpa", dns.PTR)
    answer = answer_from_hosts(query, HOSTS)
    assert answer is not None
    assert records(answer, query) == [b"\2db\0"]


@pytest.mark.parametrize(
    ("name", "type"),
    [("web", dns.A), ("db.example", dns.A), ("db", 15), ("3.0.0.10.in-addr.arpa", dns.PTR), ("db", dns.PTR)],
)
def test_other_queries_are_for_a_server(name: str, type: int) -> None:
    assert answer_from_hosts(parsed(name, type), HOSTS) is None


def test_other_classes_are_for_a_server() -> None:
    query = dns.parse_query(message()[:12] + question("db", dns.A, 3))
    assert query is not None
    assert answer_from_hosts(query, HOSTS) is None


@pytest.mark.parametrize(
    ("rcode", "definite"), [(dns.NOERROR, True), (dns.NXDOMAIN, True), (dns.SERVFAIL, False), (dns.REFUSED, False)]
)
def test_answer_of_a_server_that_failed_is_not_definite(rcode: int, definite: bool) -> None:
    assert is_definite(dns.failure(parsed(), rcode)) is definite
    assert not is_definite(None)


def test_servers_outside_are_those_that_the_container_did_not_choose() -> None:
    hosts = [(), ("192.0.2.53", "192.0.2.54")]
    assert choose_outside(("192.0.2.1",), hosts, has_gateway=True) == ("192.0.2.1",)
    assert choose_outside((), hosts, has_gateway=True) == ("192.0.2.53", "192.0.2.54")
    assert choose_outside((), [], has_gateway=True) == ()
    assert choose_outside(("192.0.2.1",), hosts, has_gateway=False) == (), "its network leads nowhere"


def test_bucket_lets_a_burst_through_and_then_so_many_a_second() -> None:
    bucket = Bucket(per_s=10.0, burst=3.0)
    assert [bucket.wait_s(100.0) for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(0.1)]
    assert bucket.wait_s(100.2) == 0.0
    assert bucket.wait_s(100.2) == pytest.approx(0.1)
    assert [bucket.wait_s(200.0) for _ in range(3)] == [0.0, 0.0, 0.0], "it is as at the beginning"


def test_places_are_bounded() -> None:
    places = Places(2)
    assert [places.take(), places.take(), places.take()] == [True, True, False]
    places.give_back()
    assert places.take()
