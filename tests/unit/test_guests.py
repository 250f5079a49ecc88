"""How kinds are recognised; what each kind is told is in test_rumprun, test_linux and test_raw."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.guests import KINDS, choose_kind
from supervisor.core.guests.kind import network_of
from supervisor.core.guests.multiboot import has_linux_header, has_multiboot_header, is_elf
from supervisor.core.model import Address, Interface
from supervisor.errors import Rejected

from .images import bzimage, elf, image, multiboot
from .things import ETH0


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (bzimage(), "linux"),
        (multiboot() + b"rumprun", "rumprun"),
        (multiboot(4096) + bytes(100_000) + b"rumpuser", "rumprun"),
        (multiboot(), "raw"),
        (elf(), "raw"),
        (elf() + b"rumprun", "raw"),
        (bzimage() + b"rumprun", "linux"),
    ],
)
def test_auto_recognises_the_kind_by_the_image(content: bytes, kind: str) -> None:
    assert choose_kind("auto", image(content), "/kernel").name == kind


@pytest.mark.parametrize("asked", sorted(KINDS))
def test_a_kind_that_was_asked_for_is_taken(asked: str) -> None:
    assert choose_kind(asked, image(multiboot()), "/kernel") is KINDS[asked]


@pytest.mark.parametrize("asked", ["auto", *sorted(KINDS)])
@pytest.mark.parametrize("content", [b"", b"\x7fEL", b"#!/bin/sh\n", b"rumprun" * 99, multiboot(checksum_error=1)])
def test_what_qemu_cannot_boot_is_rejected_whatever_was_asked(asked: str, content: bytes) -> None:
    with pytest.raises(Rejected, match="'/etc/passwd' is no kernel") as caught:
        choose_kind(asked, image(content), "/etc/passwd")
    assert caught.value.step == "kernel"
    assert "vtapd.kernel" in caught.value.remedy


def test_a_path_from_outside_is_shown_escaped() -> None:
    with pytest.raises(Rejected, match=r"'/\\x1b\[2J'"):
        choose_kind("auto", image(b""), "/\x1b[2J")


@pytest.mark.parametrize("offset", [0, 4, 4096, 8192 - 12])
def test_a_multiboot_header_counts_within_its_window(offset: int) -> None:
    assert has_multiboot_header(multiboot(offset))


@pytest.mark.parametrize("offset", [2, 8192 - 8, 8192, 16384])
def test_a_multiboot_header_unaligned_or_past_its_window_does_not_count(offset: int) -> None:
    assert not has_multiboot_header(multiboot(offset))


def test_both_marks_make_a_bzimage() -> None:
    assert has_linux_header(bzimage())
    assert not has_linux_header(bzimage().replace(b"HdrS", b"HdrX"))
    assert not has_linux_header(bzimage().replace(b"\x55\xaa", b"\x55\xab"))


@given(st.binary(max_size=64))
def test_any_bytes_can_be_looked_at(content: bytes) -> None:
    assert has_multiboot_header(multiboot() + content)
    assert has_linux_header(content) is False
    assert is_elf(content) == content.startswith(b"\x7fELF")


def test_every_kind_is_listed_under_its_name_and_raw_comes_last() -> None:
    assert all(name == kind.name for name, kind in KINDS.items())
    assert list(KINDS)[-1] == "raw"


def test_the_network_is_what_the_interface_had() -> None:
    network = network_of(ETH0, "kek")
    assert (network.mac, network.mtu, network.hostname) == (ETH0.mac, 1500, "kek")
    assert str(network.address) == "172.17.0.2/16"
    assert network.gateway == "172.17.0.1"
    assert network.netmask == "255.255.0.0"


def test_an_interface_without_ipv4_cannot_be_taken_over() -> None:
    only6 = Interface("eth0", ETH0.index, ETH0.mac, 1500, (Address(6, "2001:db8::2", 64),))
    with pytest.raises(Rejected, match="eth0 has no IPv4 address"):
        network_of(only6, "kek")
