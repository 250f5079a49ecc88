from dataclasses import replace

import pytest

from supervisor.core.kinds.kind import Boot, GuestKind, Mount, Stop
from supervisor.core.kinds.raw import RAW, RAW_DISK
from supervisor.errors import Rejected

from .examples import NETWORK, ONLY_IPV6, booted


def test_command_line_is_passed_unchanged() -> None:
    boot = booted(RAW, 'any "thing", really', NETWORK)
    assert (boot.command_line, boot.modules) == ('any "thing", really', ())
    assert booted(RAW) == booted(RAW_DISK) == Boot()


@pytest.mark.parametrize("form", [RAW, RAW_DISK])
def test_note_says_that_no_network_is_passed(form: GuestKind) -> None:
    for network in (NETWORK, ONLY_IPV6):
        assert booted(form, "", network).notes == (
            "Nothing of its network is passed to the guest: it configures its addresses itself.",
        )


def test_names_that_cannot_be_passed_are_noted() -> None:
    named = replace(NETWORK, hostname="web", hostname_chosen=True, hosts=("db:192.0.2.5",))
    assert booted(RAW, "", named).notes[1:] == (
        "Not passed to the guest: host name web.",
        "Not passed to the guest: host db:192.0.2.5 (docker run --add-host).",
    )


def test_command_line_longer_than_the_image_takes_is_refused() -> None:
    with pytest.raises(Rejected, match=r"label vtapd.args=.*would have 5, and the image takes at most 4 bytes"):
        booted(RAW, "x" * 5, room_bytes=4)


def test_environment_and_arguments_of_a_disk_are_refused() -> None:
    with pytest.raises(Rejected, match=r"vtapd.env"):
        booted(RAW, "", None, (("K", "V"),))
    with pytest.raises(Rejected, match=r"vtapd.args='a b' .*disk"):
        booted(RAW_DISK, "a b")


def test_guest_is_stopped_by_the_power_button() -> None:
    assert RAW.stop is Stop.POWERDOWN
    assert RAW.console == ()


def test_kernel_args_and_mounts_are_refused_by_label() -> None:
    with pytest.raises(Rejected, match=r"label vtapd.kernel-args='x' .*the system of a raw guest takes no arguments"):
        booted(RAW, kernel_args="x")
    with pytest.raises(Rejected, match=r"label vtapd.disk.0='/d,mount=/x' .*a disk without mount="):
        booted(RAW, mounts=(Mount(0, "/x", "vtapd.disk.0", "/d,mount=/x", "ext"),))


@pytest.mark.parametrize("form", [RAW, RAW_DISK])
def test_firmware_output_is_in_the_containers_log(form: GuestKind) -> None:
    assert form.machine.firmware_on_serial
