import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.guest.console_scanner import ConsoleScanner
from supervisor.core.kinds.entry import Entry
from supervisor.core.kinds.kind import Boot, Image, Mount, Verdict
from supervisor.core.kinds.network import GuestNetwork
from supervisor.core.kinds.rumprun import MAX_CONFIG_BYTES, RUMPRUN
from supervisor.core.links import Address
from supervisor.errors import Rejected

from .examples import BOTH_FAMILIES, NETWORK, NIC, NIC1, NO_GATEWAY, ONLY_IPV6, booted

NET = {"if": "vioif0", "type": "inet", "method": "static", "addr": "172.17.0.2", "mask": "16", "gw": "172.17.0.1"}


def config(boot: Boot) -> object:
    (module,) = boot.modules
    return json.loads(module)


def test_configuration_is_passed_as_a_module() -> None:
    boot = booted(RUMPRUN, "web -p 80", NETWORK)
    assert boot.command_line == ""
    assert boot.modules == (
        (
            b'{"cmdline": "web -p 80", "hostname": "kek", "net": {"if": "vioif0", "type": "inet", "method": "static", '
            b'"addr": "172.17.0.2", "mask": "16", "gw": "172.17.0.1"}}'
        ),
    )


def test_missing_network_and_gateway_are_left_out() -> None:
    assert config(booted(RUMPRUN, "web")) == {"cmdline": "web"}
    without = {name: value for name, value in NET.items() if name != "gw"}
    assert config(booted(RUMPRUN, "web", NO_GATEWAY)) == {"cmdline": "web", "hostname": "kek", "net": without}


@pytest.mark.parametrize("blank", ["", "   "])
def test_empty_command_line_is_replaced(blank: str) -> None:
    assert config(booted(RUMPRUN, blank)) == {"cmdline": "guest"}


SAYABLE = st.characters(exclude_characters='"\\', exclude_categories=("C", "Zl", "Zp"))


@given(st.text(SAYABLE, max_size=300))
def test_printable_arguments_are_passed_unchanged(args: str) -> None:
    words = args if args.strip() else "guest"
    assert config(booted(RUMPRUN, args, NETWORK)) == {"cmdline": words, "hostname": "kek", "net": NET}


@given(st.text(max_size=20), st.sampled_from(['"', "\\", "\0", "\n", "\x1b", "\x7f"]), st.text(max_size=20))
def test_characters_that_rumpruns_parser_cannot_read_are_refused(before: str, bad: str, after: str) -> None:
    with pytest.raises(Rejected, match=r"label vtapd.args=.*quotes, backslashes or control characters"):
        booted(RUMPRUN, "x" + before + bad + after + "x", NETWORK)


def test_configuration_has_a_maximum_size() -> None:
    frame = len(b'{"cmdline": ""}')
    room_bytes = RUMPRUN.room_bytes(Image(b"", frozenset(), Entry.MULTIBOOT))
    assert room_bytes == MAX_CONFIG_BYTES
    (largest,) = booted(RUMPRUN, "x" + "é" * ((MAX_CONFIG_BYTES - frame - 1) // 2), room_bytes=room_bytes).modules
    assert len(largest) == MAX_CONFIG_BYTES
    with pytest.raises(Rejected, match=r"label vtapd.args=.*would have 4095, and the image takes at most 4094 bytes"):
        booted(RUMPRUN, "x" * (MAX_CONFIG_BYTES - frame + 1), room_bytes=room_bytes)


def test_every_card_and_both_families_are_configured() -> None:
    network = GuestNetwork((*BOTH_FAMILIES.nics, NIC1))
    (module,) = booted(RUMPRUN, "web", network).modules
    nets = [value for key, value in json.loads(module, object_pairs_hook=list) if key == "net"]
    net6 = {"if": "vioif0", "type": "inet6", "method": "static", "addr": "2001:db8::2", "mask": "64"}
    net1 = {"if": "vioif1", "type": "inet", "method": "static", "addr": "172.18.0.5", "mask": "24"}
    assert [dict(net) for net in nets] == [NET, net6 | {"gw": "2001:db8::1"}, net1]


def test_ipv6_address_with_an_odd_prefix_is_left_out() -> None:
    odd = replace(BOTH_FAMILIES.nics[0], addresses=(*NIC.addresses, Address(6, "2001:db8::2", 60)))
    boot = booted(RUMPRUN, "web", GuestNetwork((odd,)))
    assert config(boot) == {"cmdline": "web", "net": NET}
    assert boot.network is not None
    assert boot.network.nics[0].ipv6 is None
    note = "Not passed to the guest: address 2001:db8::2/60 of eth0: its prefix is no multiple of 8."
    assert boot.notes == (note,)


def test_link_local_gateway_is_left_out() -> None:
    there = replace(BOTH_FAMILIES.nics[0], gateway6="fe80::1")
    boot = booted(RUMPRUN, "web", GuestNetwork((there,)))
    nets = [value for key, value in json.loads(boot.modules[0], object_pairs_hook=list) if key == "net"]
    assert [dict(net).get("gw") for net in nets] == ["172.17.0.1", None]
    assert boot.notes[0].startswith("Not passed to the guest: gateway fe80::1 of eth0: its configuration has no field")


def test_second_gateway_of_a_family_is_left_out() -> None:
    network = GuestNetwork((*BOTH_FAMILIES.nics, replace(NIC1, gateway4="172.18.0.1")))
    boot = booted(RUMPRUN, "web", network)
    nets = [value for key, value in json.loads(boot.modules[0], object_pairs_hook=list) if key == "net"]
    assert [dict(net).get("gw") for net in nets] == ["172.17.0.1", "2001:db8::1", None]
    assert boot.notes == ("Not passed to the guest: gateway 172.18.0.1 of eth1: it takes one of each family.",)
    other = replace(NIC1, addresses=(Address(6, "2001:db8:1::2", 64),), gateway6="2001:db8:1::1")
    boot = booted(RUMPRUN, "web", GuestNetwork((*BOTH_FAMILIES.nics, other)))
    assert boot.notes == ("Not passed to the guest: gateway 2001:db8:1::1 of eth1: it takes one of each family.",)


def test_variables_are_a_repeated_key() -> None:
    (module,) = booted(RUMPRUN, "web", None, (("K", "V"), ("SPACE", "a b=c"))).modules
    assert module == b'{"cmdline": "web", "env": "K=V", "env": "SPACE=a b=c"}'


@pytest.mark.parametrize("variable", [("K", 'a"b'), ("K", "a\\"), ("K", "\n"), ("a-b", "c")])
def test_variable_that_json_cannot_carry_is_left_out_and_named(variable: tuple[str, str]) -> None:
    boot = booted(RUMPRUN, "web", None, (variable, ("L", "V")))
    assert boot.modules == (b'{"cmdline": "web", "env": "L=V"}',)
    (note,) = boot.notes
    assert note.startswith(f"Not passed to the guest: variable {variable[0]!r}: its ")


def test_variable_without_room_is_left_out() -> None:
    boot = booted(RUMPRUN, "web", None, (("LONG", "x" * 60), ("K", "V")), room_bytes=64)
    assert boot.modules == (b'{"cmdline": "web", "env": "K=V"}',)
    assert boot.notes == ("Not passed to the guest: variable 'LONG': no room is left for it.",)


def test_resolver_is_the_first_dns_server_unless_the_user_sets_it() -> None:
    network = GuestNetwork((NIC,), dns=("192.0.2.53", "192.0.2.54"))
    boot = booted(RUMPRUN, "web", network)
    assert config(boot) == {"cmdline": "web", "env": "DNS_RESOLVER=192.0.2.53", "net": NET}
    assert boot.notes == ("Not passed to the guest: DNS server 192.0.2.54.",)
    own = booted(RUMPRUN, "web", network, (("DNS_RESOLVER", "203.0.113.1"),))
    assert config(own) == {"cmdline": "web", "env": "DNS_RESOLVER=203.0.113.1", "net": NET}


def test_invalid_resolver_of_the_user_does_not_replace_the_containers() -> None:
    boot = booted(RUMPRUN, "web", GuestNetwork((NIC,), dns=("192.0.2.53",)), (("DNS_RESOLVER", '"'),))
    assert config(boot) == {"cmdline": "web", "env": "DNS_RESOLVER=192.0.2.53", "net": NET}


def test_disks_are_mounted_by_position() -> None:
    mounts = (Mount(0, "/data", "vtapd.disk.3", "/a,mount=/data", None), Mount(2, "/www", "vtapd.disk.9", "/b", "ext"))
    (module,) = booted(RUMPRUN, "web", mounts=mounts).modules
    pairs = json.loads(module, object_pairs_hook=list)
    blk = {"source": "dev", "path": "/dev/ld0a", "fstype": "blk", "mountpoint": "/data"}
    assert [dict(value) for key, value in pairs if key == "blk"] == [
        blk, blk | {"path": "/dev/ld2a", "mountpoint": "/www"},
    ]  # fmt: skip


def test_mount_point_that_json_cannot_carry_is_refused_by_label() -> None:
    with pytest.raises(Rejected, match=r"label vtapd.disk.0='/disk' is refused; allowed is a mount point"):
        booted(RUMPRUN, "web", mounts=(Mount(0, '/a"b', "vtapd.disk.0", "/disk", None),))


@pytest.mark.parametrize(
    "text", ['"rc_TESTING": [{"bin": "a"}], "blk": {}', ' {"rc_TESTING": [{"bin": "a"}], "blk": {}} ']
)
def test_kernel_args_are_added_members_with_or_without_braces(text: str) -> None:
    (module,) = booted(RUMPRUN, "web", kernel_args=text).modules
    assert module == b'{"cmdline": "web", "rc_TESTING": [{"bin": "a"}], "blk": {}}'
    for nothing in ("", " ", "{ }"):
        assert booted(RUMPRUN, "web", kernel_args=nothing).modules == (b'{"cmdline": "web"}',)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("rc", "further members"),
        ('"a": 1}, {"b": 2', "further members"),
        ('"a": ' + "[" * 2000, "further members"),
        ('"a": "\\n"', "without backslashes"),
        ('"net": {}', "other than cmdline, env, hostname, net, which"),
        ('"a": 1, "cmdline": "x"', "other than cmdline"),
        ('"c": "x"', "other than cmdline"),
    ],
)
def test_wrong_or_reserved_kernel_args_are_refused(text: str, allowed: str) -> None:
    with pytest.raises(Rejected, match=rf"label vtapd.kernel-args=.* is refused; allowed is .*{allowed}"):
        booted(RUMPRUN, "web", kernel_args=text)


def test_kernel_args_may_not_mount_disks_if_disk_labels_do() -> None:
    mount = Mount(0, "/data", "vtapd.disk.0", "/disk", None)
    with pytest.raises(Rejected, match="other than blk, cmdline"):
        booted(RUMPRUN, "web", mounts=(mount,), kernel_args='"blk": {}')


def test_card_with_ipv6_alone_is_configured() -> None:
    net6 = {"if": "vioif0", "type": "inet6", "method": "static", "addr": "2001:db8::2", "mask": "64"}
    assert config(booted(RUMPRUN, "web", ONLY_IPV6)) == {"cmdline": "web", "hostname": "kek", "net": net6}
    with pytest.raises(Rejected, match=r"vtapd.address"):
        booted(RUMPRUN, "web", GuestNetwork((replace(NIC, addresses=()),)))


@pytest.mark.parametrize(
    "line",
    ["GET /halted HTTP/1.1", "halted by request", "say === _exit(3) called ===", "_lwpabort() called for", "halt"],
)
def test_line_that_resembles_an_end_is_ignored(line: str) -> None:
    scanner = ConsoleScanner(RUMPRUN.console)
    assert not scanner.feed(f"{line}\n".encode())
    assert scanner.verdict is None


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ('=== main() of "web" returned 0 ===', Verdict("guest-exit", 0)),
        ('=== main() of "say "hi" returned 3 ===" returned 7 ===', Verdict("guest-exit", 7)),
        ("=== _exit(0) called ===", Verdict("guest-exit", 0)),
        ("=== ERROR: _exit(7) called ===", Verdict("guest-exit", 7)),
        ("_lwpabort() called", Verdict("guest-panic")),
        ("FATAL TRAP: 6 at 0x1000", Verdict("guest-panic")),
        ("=== bootstrap failed", Verdict("guest-panic")),
        ("PANIC: command line too long, increase BMK_MULTIBOOT_CMDLINE_SIZE", Verdict("guest-panic")),
        ("DONT PANIC: it is a guide", None),
        ('=== calling "web" main() ===', None),
        ("it halted", None),
        ("A FATAL TRAP: not at the start", None),
    ],
)
def test_console_line_gives_the_verdict(line: str, verdict: Verdict | None) -> None:
    scanner = ConsoleScanner(RUMPRUN.console)
    scanner.feed(f"\n{line}\r\n".encode())
    assert scanner.verdict == verdict


@pytest.mark.parametrize("line", ['=== main() of "web" returned -1 ===', "=== ERROR: _exit(-1) called ==="])
def test_negative_exit_code_is_accepted(line: str) -> None:
    scanner = ConsoleScanner(RUMPRUN.console)
    scanner.feed(f"{line}\nhalted\n".encode())
    assert scanner.verdict is not None
    assert scanner.verdict.reason == "guest-exit"


def test_clean_end_is_read_from_the_console() -> None:
    scanner = ConsoleScanner(RUMPRUN.console)
    assert not scanner.feed(b'=== main() of "web" returned 0 ===\n=== _exit(0) called ===\n')
    assert scanner.feed(b"rump kernel halting...\nhalted\n")
    assert scanner.verdict == Verdict("guest-exit", 0)
    assert scanner.last_line == "=== _exit(0) called ==="


def test_abort_followed_by_exit_is_a_panic() -> None:
    scanner = ConsoleScanner(RUMPRUN.console)
    assert scanner.feed(b"_lwpabort() called\n=== ERROR: _exit(1) called ===\nhalted\n")
    assert scanner.verdict == Verdict("guest-panic")
    assert scanner.last_line == "_lwpabort() called"


def test_guest_is_stopped_by_quitting_qemu() -> None:
    assert RUMPRUN.stop.name == "QUIT"
    assert all(isinstance(pattern.regex, re.Pattern) for pattern in RUMPRUN.console)


def test_dhcp_is_configured() -> None:
    boot = booted(RUMPRUN, "web", replace(NETWORK, dhcp=True, dns=("192.0.2.53",), search="example.org"))
    (config,) = (json.loads(module) for module in boot.modules)
    assert config["net"] == {"if": "vioif0", "type": "inet", "method": "dhcp"}
    assert "env" not in config
    assert boot.notes == ()


def test_long_mount_is_named_if_the_configuration_is_too_long() -> None:
    mount = Mount(0, "/" + "m" * 60, "vtapd.disk.0", "/disk,mount=/" + "m" * 60, None)
    with pytest.raises(Rejected, match=r"label vtapd.disk.0='/disk,mount=/mmm"):
        booted(RUMPRUN, "web", mounts=(mount,), room_bytes=40)
