"""Which `Host` headers name this machine, and which a web site that rebinds its own name."""

import pytest

from supervisor.core.report.host_header import is_own_host

NAMES = ("Node1", "metrics.example.com")


@pytest.mark.parametrize("host", [
    "127.0.0.1:9817", "127.0.0.1", "10.0.0.11:9817", "[::1]:9817", "[::1]", "[2001:db8::2]:80", "localhost:9817",
    "LOCALHOST", "node1:9817", "metrics.example.com", "127.0.0.1:",
])  # fmt: skip
def test_addresses_and_own_names_are_right(host: str) -> None:
    assert is_own_host(host, NAMES)


@pytest.mark.parametrize("host", [
    "", ":9817", "evil.example", "evil.example:9817", "localhost.evil.example", "127.0.0.1.evil.example",
    "node1.evil.example", "127.1", "0x7f000001", "2130706433", "[::1", "::1", "[evil.example]", "localhost:http",
    "evil.example:80@localhost", "a b",
])  # fmt: skip
def test_other_names_are_refused(host: str) -> None:
    assert not is_own_host(host, NAMES)
