from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.console import ConsoleScanner
from supervisor.core.guests.kind import Stop, Verdict
from supervisor.core.guests.linux import LINUX

from .things import NETWORK

IP = "ip=172.17.0.2::172.17.0.1:255.255.0.0:kek:eth0:off"


def test_the_network_goes_by_the_kernels_own_words() -> None:
    boot = LINUX.boot("quiet init=/bin/web", NETWORK)
    assert boot.command_line == f"console=ttyS0 panic=-1 {IP} quiet init=/bin/web"
    assert boot.modules == ()


def test_without_network_or_arguments_nothing_is_added() -> None:
    assert LINUX.boot("", None).command_line == "console=ttyS0 panic=-1"


def test_without_gateway_its_field_is_empty() -> None:
    assert "ip=172.17.0.2:::255.255.0.0:kek:eth0:off" in LINUX.boot("", replace(NETWORK, gateway=None)).command_line


@pytest.mark.parametrize("hostname", ["kek", "c0ffee123456", "db-1.example.org", "A", "x" * 64])
def test_a_hostname_is_passed_on(hostname: str) -> None:
    assert f":255.255.0.0:{hostname}:eth0:off" in LINUX.boot("", replace(NETWORK, hostname=hostname)).command_line


@pytest.mark.parametrize(
    "hostname", ["", "a b", "a:b", "a\nb", "a\n", "-a", "a-", ".", "x" * 65, "k\N{LATIN SMALL LETTER E WITH ACUTE}k"]
)
def test_a_hostname_that_is_none_is_left_out(hostname: str) -> None:
    assert ":255.255.0.0::eth0:off" in LINUX.boot("", replace(NETWORK, hostname=hostname)).command_line


@given(st.text(max_size=40) | st.from_regex(r"[a-z:. =]{0,20}"))
def test_no_hostname_adds_a_word_or_a_field(hostname: str) -> None:
    words = LINUX.boot("", replace(NETWORK, hostname=hostname)).command_line.split(" ")
    assert words[:2] == ["console=ttyS0", "panic=-1"]
    (ip,) = words[2:]
    fields = ip.removeprefix("ip=").split(":")
    assert fields[:4] + fields[5:] == ["172.17.0.2", "", "172.17.0.1", "255.255.0.0", "eth0", "off"]
    assert fields[4] in ("", hostname)


def test_a_panic_is_told_and_not_final() -> None:
    scanner = ConsoleScanner(LINUX.console)
    assert not scanner.feed(b"[    0.9] Kernel panic - not syncing: VFS: Unable to mount root fs\n")
    assert scanner.verdict == Verdict("guest-panic")


def test_it_has_a_power_button() -> None:
    assert LINUX.stop is Stop.POWERDOWN
