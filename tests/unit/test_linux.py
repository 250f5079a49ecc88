from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.guest.console_scanner import ConsoleScanner
from supervisor.core.kinds.entry import Entry
from supervisor.core.kinds.kind import Boot, Image, Mount, Stop, Verdict
from supervisor.core.kinds.linux import LINUX
from supervisor.core.kinds.network import GuestNetwork, Nic
from supervisor.core.kinds.raw import RAW
from supervisor.core.links import Route
from supervisor.errors import Rejected

from .examples import BOTH_FAMILIES, NETWORK, NIC, NIC1, NO_GATEWAY, ONLY_IPV6, booted

IP = "ip=172.17.0.2::172.17.0.1:255.255.0.0:kek:eth0:off"


def test_network_is_passed_by_the_kernels_ip_word() -> None:
    boot = booted(LINUX, "quiet init=/bin/web", NETWORK)
    assert boot.command_line == f"console=ttyS0 panic=-1 {IP} quiet init=/bin/web"
    assert boot.modules == ()


def test_without_network_and_arguments_nothing_is_added() -> None:
    assert booted(LINUX).command_line == "console=ttyS0 panic=-1"


def test_missing_gateway_leaves_its_field_empty() -> None:
    assert "ip=172.17.0.2:::255.255.0.0:kek:eth0:off" in booted(LINUX, "", NO_GATEWAY).command_line


@pytest.mark.parametrize("hostname", ["kek", "c0ffee123456", "db-1.example.org", "A", "x" * 64])
def test_hostname_is_passed(hostname: str) -> None:
    assert f":255.255.0.0:{hostname}:eth0:off" in booted(LINUX, "", replace(NETWORK, hostname=hostname)).command_line


@pytest.mark.parametrize(
    "hostname", ["", "a b", "a:b", "a\nb", "a\n", "-a", "a-", ".", "x" * 65, "k\N{LATIN SMALL LETTER E WITH ACUTE}k"]
)
def test_invalid_hostname_is_left_out(hostname: str) -> None:
    assert ":255.255.0.0::eth0:off" in booted(LINUX, "", replace(NETWORK, hostname=hostname)).command_line


@given(st.text(max_size=40) | st.from_regex(r"[a-z:. =]{0,20}"))
def test_hostname_cannot_add_a_word_or_a_field(hostname: str) -> None:
    words = booted(LINUX, "", replace(NETWORK, hostname=hostname)).command_line.split(" ")
    assert words[:2] == ["console=ttyS0", "panic=-1"]
    (ip,) = words[2:]
    fields = ip.removeprefix("ip=").split(":")
    assert fields[:4] + fields[5:] == ["172.17.0.2", "", "172.17.0.1", "255.255.0.0", "eth0", "off"]
    assert fields[4] in ("", hostname)


def test_two_dns_servers_are_passed() -> None:
    boot = booted(LINUX, "", replace(NETWORK, dns=("192.0.2.53", "192.0.2.54", "192.0.2.55")))
    assert boot.command_line.endswith(f"{IP}:192.0.2.53:192.0.2.54")
    assert boot.notes == ("Not passed to the guest: DNS server 192.0.2.55.",)


def test_ipv6_is_passed_in_the_words_of_dracut_before_the_kernels_own() -> None:
    boot = booted(LINUX, "", BOTH_FAMILIES)
    assert boot.command_line == f"console=ttyS0 panic=-1 ip=[2001:db8::2]::[2001:db8::1]:64:kek:eth0:off {IP}"
    without = replace(BOTH_FAMILIES.nics[0], gateway6=None)
    assert "ip=[2001:db8::2]:::64:kek:eth0:off" in line_with(without)
    assert boot.notes == ()


def line_with(*nics: Nic) -> str:
    return booted(LINUX, "", replace(NETWORK, nics=nics)).command_line


def test_each_card_has_its_word_and_the_first_card_comes_last() -> None:
    assert line_with(NIC, NIC1) == f"console=ttyS0 panic=-1 ip=172.18.0.5:::255.255.255.0:kek:eth1:off {IP}"


def test_gateway_routes_are_passed_and_on_link_routes_are_left_out() -> None:
    routes = (
        Route(4, "198.51.100.0", 24, "172.17.0.9"),
        Route(6, "2001:db8:9::", 48, "2001:db8::9"),
        Route(4, "192.0.2.1", 32),
    )
    boot = booted(LINUX, "", replace(NETWORK, nics=(replace(NIC, routes=routes),)))
    words = "rd.route=198.51.100.0/24:172.17.0.9:eth0 rd.route=[2001:db8:9::/48]:[2001:db8::9]:eth0"
    assert boot.command_line == f"console=ttyS0 panic=-1 {words} {IP}"
    assert boot.notes == ("Not passed to the guest: route 192.0.2.1/32 on-link of eth0.",)


def test_dhcp_is_passed_by_the_kernels_ip_word() -> None:
    boot = booted(LINUX, "", replace(NETWORK, nics=(replace(NIC, addresses=()),), dhcp=True))
    assert boot == Boot("console=ttyS0 panic=-1 ip=::::kek:eth0:dhcp")


def test_ipv6_dns_server_stands_in_brackets() -> None:
    boot = booted(LINUX, "", replace(NETWORK, dns=("2001:db8::53",)))
    assert boot.command_line.endswith(f"{IP}:[2001:db8::53]")


def test_card_with_ipv6_alone_gets_the_words_of_dracut_with_the_dns_servers() -> None:
    boot = booted(LINUX, "", replace(ONLY_IPV6, dns=("2001:db8::53",)))
    assert boot.command_line == "console=ttyS0 panic=-1 ip=[2001:db8::2]:::64:kek:eth0:off:[2001:db8::53]"
    with pytest.raises(Rejected, match=r"vtapd.address"):
        booted(LINUX, "", GuestNetwork((replace(NIC, addresses=()),)))


def test_variables_come_before_the_users_arguments() -> None:
    boot = booted(LINUX, "quiet -- a", None, (("GREETING", "hiya, gump"), ("EMPTY", "")))
    assert boot.command_line == 'console=ttyS0 panic=-1 GREETING="hiya, gump" EMPTY= quiet -- a'


def test_kernel_args_come_before_the_users_arguments() -> None:
    boot = booted(LINUX, "quiet", None, (("K", "V"),), kernel_args="mitigations=off")
    assert boot.command_line == "console=ttyS0 panic=-1 K=V mitigations=off quiet"


def test_domain_name_is_appended_to_the_hostname() -> None:
    assert ":kek.example.com:eth0" in booted(LINUX, "", replace(NETWORK, domain="example.com")).command_line
    whole = replace(NETWORK, hostname="a.b", hostname_chosen=True, domain="example.com")
    assert ":a.b:eth0" in booted(LINUX, "", whole).command_line
    assert booted(LINUX, "", whole).notes == ("Not passed to the guest: domain name example.com.",)


def test_names_that_cannot_be_passed_are_noted() -> None:
    network = replace(
        NETWORK,
        hostname="my_app",
        hostname_chosen=True,
        domain="example.com",
        search="example.org",
        hosts=("db:10.0.0.5",),
    )
    assert booted(LINUX, "", network).notes == (
        "Not passed to the guest: host name my_app.",
        "Not passed to the guest: domain name example.com.",
        "Not passed to the guest: search domain example.org.",
        "Not passed to the guest: host db:10.0.0.5 (docker run --add-host).",
    )


def bzimage(protocol: int, cmdline_size: int) -> Image:
    head = bytearray(0x400)
    head[0x1FE:0x206] = b"\x55\xaa\0\0HdrS"
    head[0x206:0x208] = protocol.to_bytes(2, "little")
    head[0x238:0x23C] = cmdline_size.to_bytes(4, "little")
    return Image(bytes(head), frozenset(), Entry.LINUX)


@pytest.mark.parametrize(
    ("image", "room_bytes"),
    [
        (bzimage(0x20F, 2047), 2047),
        (bzimage(0x206, 255), 255),
        (bzimage(0x20F, 0), 2047),
        (bzimage(0x205, 255), 2047),
        (Image(bytes(bzimage(0x20F, 255).head), frozenset(), Entry.PVH), 2047),
    ],
)
def test_command_line_room_is_read_from_the_boot_header(image: Image, room_bytes: int) -> None:
    assert LINUX.room_bytes(image) == room_bytes


def test_line_longer_than_the_kernel_takes_is_refused() -> None:
    frame = len(booted(LINUX, "", NETWORK).command_line) + 1
    assert len(booted(LINUX, "x" * (2047 - frame), NETWORK, room_bytes=2047).command_line) == 2047
    with pytest.raises(Rejected, match=r"label vtapd.args=.*would have 2048, and the image takes at most 2047 bytes"):
        booted(LINUX, "x" * (2048 - frame), NETWORK, room_bytes=2047)
    with pytest.raises(Rejected, match=r"arguments for the guest's network are too long"):
        booted(LINUX, "", NETWORK, room_bytes=40)


def test_disk_mount_is_refused() -> None:
    with pytest.raises(Rejected, match=r"label vtapd.disk.0='/d,mount=/data' .*disk without mount="):
        booted(LINUX, mounts=(Mount(0, "/data", "vtapd.disk.0", "/d,mount=/data", "ext"),))


@pytest.mark.parametrize(
    ("key", "value"),
    [("http_proxy", "x"), ("root", "/dev/vda"), ("Path", "x"), ("K", 'a"b'), ("K", "a\nb"), ("A.B", "x"), ("", "x")],
)
def test_variable_with_a_meaning_for_the_kernel_is_left_out(key: str, value: str) -> None:
    boot = booted(LINUX, "", None, ((key, value),))
    assert boot.command_line == "console=ttyS0 panic=-1"
    (note,) = boot.notes
    assert note.startswith(f"Not passed to the guest: variable {key!r}: ")


def test_variables_beyond_the_limit_of_init_are_left_out() -> None:
    variables = tuple((f"V{number}", "x") for number in range(31))
    assert booted(LINUX, "", None, variables[:30]).command_line.endswith("V29=x")
    boot = booted(LINUX, "", None, variables)
    assert boot.command_line.endswith("V29=x")
    assert boot.notes == ("Not passed to the guest: variable 'V30': the guest takes at most 30 variables.",)


@pytest.mark.parametrize(
    "line", [b"GET /Kernel panic - not syncing HTTP/1.0", b"they say: Kernel panic - not syncing", b"a kernel panic"]
)
def test_panic_text_inside_a_line_is_ignored(line: bytes) -> None:
    scanner = ConsoleScanner(LINUX.console)
    scanner.feed(line + b"\n")
    assert scanner.verdict is None


def test_panic_is_recognised_but_not_final() -> None:
    scanner = ConsoleScanner(LINUX.console)
    assert not scanner.feed(b"[    0.9] Kernel panic - not syncing: VFS: Unable to mount root fs\n")
    assert scanner.verdict == Verdict("guest-panic")


def test_exit_code_of_a_container_images_command() -> None:
    scanner = ConsoleScanner(LINUX.console)
    scanner.feed(b"GET /vtapd-init: exit 3 HTTP/1.0\r\nunfinished line, vtapd-init: exit 4\r\n")
    assert scanner.verdict is None
    scanner.feed(b"vtapd-init: exit 7\r\n[   12.3] reboot: Power down\r\n")
    assert scanner.verdict == Verdict("guest-exit", 7)


def test_guest_is_stopped_by_the_power_button() -> None:
    assert LINUX.stop is Stop.POWERDOWN


def test_one_queue_per_cpu_up_to_eight() -> None:
    assert [LINUX.queues(cpus) for cpus in (1, 4, 64)] == [1, 4, 8]
    assert RAW.queues(4) == 1
