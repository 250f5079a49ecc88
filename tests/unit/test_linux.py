from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.console import ConsoleScanner
from supervisor.core.guests.kind import Boot, Stop, Verdict
from supervisor.core.guests.linux import LINUX
from supervisor.core.guests.network import GuestNetwork, Nic
from supervisor.core.guests.raw import RAW
from supervisor.core.model import Route
from supervisor.errors import Rejected

from .things import BOTH_FAMILIES, NETWORK, NIC, NIC1, NO_GATEWAY, OFF_LINK, ONLY_IPV6

IP = "ip=172.17.0.2::172.17.0.1:255.255.0.0:kek:eth0:off"


def test_the_network_goes_by_the_kernels_own_words() -> None:
    boot = LINUX.boot("quiet init=/bin/web", NETWORK, ())
    assert boot.command_line == f"console=ttyS0 panic=-1 {IP} quiet init=/bin/web"
    assert boot.modules == ()


def test_without_network_or_arguments_nothing_is_added() -> None:
    assert LINUX.boot("", None, ()).command_line == "console=ttyS0 panic=-1"


def test_without_gateway_its_field_is_empty() -> None:
    assert "ip=172.17.0.2:::255.255.0.0:kek:eth0:off" in LINUX.boot("", NO_GATEWAY, ()).command_line


@pytest.mark.parametrize("hostname", ["kek", "c0ffee123456", "db-1.example.org", "A", "x" * 64])
def test_a_hostname_is_passed_on(hostname: str) -> None:
    assert f":255.255.0.0:{hostname}:eth0:off" in LINUX.boot("", replace(NETWORK, hostname=hostname), ()).command_line


@pytest.mark.parametrize(
    "hostname", ["", "a b", "a:b", "a\nb", "a\n", "-a", "a-", ".", "x" * 65, "k\N{LATIN SMALL LETTER E WITH ACUTE}k"]
)
def test_a_hostname_that_is_none_is_left_out(hostname: str) -> None:
    assert ":255.255.0.0::eth0:off" in LINUX.boot("", replace(NETWORK, hostname=hostname), ()).command_line


@given(st.text(max_size=40) | st.from_regex(r"[a-z:. =]{0,20}"))
def test_no_hostname_adds_a_word_or_a_field(hostname: str) -> None:
    words = LINUX.boot("", replace(NETWORK, hostname=hostname), ()).command_line.split(" ")
    assert words[:2] == ["console=ttyS0", "panic=-1"]
    (ip,) = words[2:]
    fields = ip.removeprefix("ip=").split(":")
    assert fields[:4] + fields[5:] == ["172.17.0.2", "", "172.17.0.1", "255.255.0.0", "eth0", "off"]
    assert fields[4] in ("", hostname)


def test_dns_servers_have_two_places() -> None:
    boot = LINUX.boot("", replace(NETWORK, dns=("192.0.2.53", "192.0.2.54", "192.0.2.55")), ())
    assert boot.command_line.endswith(f"{IP}:192.0.2.53:192.0.2.54")
    assert boot.notes == ("The guest is not told of DNS server 192.0.2.55.",)


def test_ipv6_goes_by_the_words_of_dracut_and_systemd_before_the_kernels_own() -> None:
    boot = LINUX.boot("", BOTH_FAMILIES, ())
    assert boot.command_line == f"console=ttyS0 panic=-1 ip=[2001:db8::2]::[2001:db8::1]:64:kek:eth0:off {IP}"
    without = replace(BOTH_FAMILIES.nics[0], gateway6=None)
    assert "ip=[2001:db8::2]:::64:kek:eth0:off" in told_of(without)
    assert boot.notes == ()


def told_of(*nics: Nic) -> str:
    return LINUX.boot("", replace(NETWORK, nics=nics), ()).command_line


def test_several_cards_have_a_word_each_and_the_first_the_last() -> None:
    assert told_of(NIC, NIC1) == f"console=ttyS0 panic=-1 ip=172.18.0.5:::255.255.255.0:kek:eth1:off {IP}"


def test_routes_through_a_gateway_are_told_and_those_on_link_are_left_out() -> None:
    routes = (
        Route(4, "198.51.100.0", 24, "172.17.0.9"),
        Route(6, "2001:db8:9::", 48, "2001:db8::9"),
        Route(4, "192.0.2.1", 32),
    )
    boot = LINUX.boot("", replace(NETWORK, nics=(replace(NIC, routes=routes),)), ())
    words = "rd.route=198.51.100.0/24:172.17.0.9:eth0 rd.route=[2001:db8:9::/48]:[2001:db8::9]:eth0"
    assert boot.command_line == f"console=ttyS0 panic=-1 {words} {IP}"
    assert boot.notes == ("The guest is not told of route 192.0.2.1/32 on-link of eth0.",)


def test_it_can_be_told_to_ask() -> None:
    boot = LINUX.boot("", replace(NETWORK, nics=(replace(NIC, addresses=()),), dhcp=True), ())
    assert boot == Boot("console=ttyS0 panic=-1 ip=::::kek:eth0:dhcp")


def test_a_dns_server_of_ipv6_stands_in_brackets() -> None:
    boot = LINUX.boot("", replace(NETWORK, dns=("2001:db8::53",)), ())
    assert boot.command_line.endswith(f"{IP}:[2001:db8::53]")


@pytest.mark.parametrize("network", [ONLY_IPV6, OFF_LINK])
def test_a_network_that_it_could_not_use_is_refused(network: GuestNetwork) -> None:
    with pytest.raises(Rejected, match=r"vtapd.address"):
        LINUX.boot("", network, ())


def test_variables_are_words_before_the_users_own() -> None:
    boot = LINUX.boot("quiet -- a", None, (("GREETING", "hiya, gump"), ("EMPTY", "")))
    assert boot.command_line == 'console=ttyS0 panic=-1 GREETING="hiya, gump" EMPTY= quiet -- a'


@pytest.mark.parametrize(
    ("key", "value"), [("root", "/dev/vda"), ("Path", "x"), ("K", 'a"b'), ("K", "a\nb"), ("A.B", "x"), ("", "x")]
)
def test_a_variable_that_the_kernel_would_take_otherwise_is_refused(key: str, value: str) -> None:
    with pytest.raises(Rejected, match=r"label vtapd.env="):
        LINUX.boot("", None, ((key, value),))


def test_more_variables_than_its_init_takes_are_refused() -> None:
    variables = tuple((f"V{number}", "x") for number in range(31))
    assert LINUX.boot("", None, variables[:30]).command_line.endswith("V29=x")
    with pytest.raises(Rejected, match="at most 30 variables, not 31"):
        LINUX.boot("", None, variables)


@pytest.mark.parametrize(
    "line", [b"GET /Kernel panic - not syncing HTTP/1.0", b"they say: Kernel panic - not syncing", b"a kernel panic"]
)
def test_a_panic_that_is_only_talked_about_is_none(line: bytes) -> None:
    scanner = ConsoleScanner(LINUX.console)
    scanner.feed(line + b"\n")
    assert scanner.verdict is None


def test_a_panic_is_told_and_not_final() -> None:
    scanner = ConsoleScanner(LINUX.console)
    assert not scanner.feed(b"[    0.9] Kernel panic - not syncing: VFS: Unable to mount root fs\n")
    assert scanner.verdict == Verdict("guest-panic")


def test_it_has_a_power_button() -> None:
    assert LINUX.stop is Stop.POWERDOWN


def test_a_queue_for_each_processor_up_to_eight() -> None:
    assert [LINUX.queues(cpus) for cpus in (1, 4, 64)] == [1, 4, 8]
    assert RAW.queues(4) == 1
