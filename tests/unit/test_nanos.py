import pytest

from supervisor.core.guest.console_scanner import ConsoleScanner
from supervisor.core.kinds.kind import GuestKind, Mount, Verdict, debug_exit_code
from supervisor.core.kinds.nanos import NANOS_DISK, NANOS_KERNEL
from supervisor.errors import Rejected

from .examples import NETWORK, ONLY_IPV6, booted


@pytest.mark.parametrize("form", [NANOS_DISK, NANOS_KERNEL])
def test_nothing_is_passed_and_a_note_says_so(form: GuestKind) -> None:
    for network in (NETWORK, ONLY_IPV6):
        boot = booted(form, "", network)
        assert (boot.command_line, boot.modules) == ("", ())
        assert "baked into its image" in boot.notes[0]
    assert booted(form).notes == ()
    assert form.ip_versions == ()


@pytest.mark.parametrize("form", [NANOS_DISK, NANOS_KERNEL])
def test_arguments_and_environment_are_refused(form: GuestKind) -> None:
    with pytest.raises(Rejected, match=r"vtapd.args='web'"):
        booted(form, "web")
    with pytest.raises(Rejected, match=r"vtapd.env"):
        booted(form, "", None, (("K", "V"),))


def test_disk_and_kernel_form_have_the_exit_device() -> None:
    assert NANOS_DISK.machine.boots_disk
    assert not NANOS_KERNEL.machine.boots_disk
    for form in (NANOS_DISK, NANOS_KERNEL):
        assert any(device.startswith("isa-debug-exit,iobase=0x501") for device in form.machine.devices)


@pytest.mark.parametrize(("status", "code"), [(1, 0), (3, 1), (15, 7), (255, 127), (0, None), (2, None), (-9, None)])
def test_exit_code_is_read_from_the_status_of_qemu(status: int, code: int | None) -> None:
    assert debug_exit_code(status) == code


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("signal 11 received by tid 2, errno 0, code 1", Verdict("guest-panic")),
        ("*** signal 6 received by tid 12, errno 0, code -6", Verdict("guest-panic")),
        ("a signal 11 received by tid 2, errno 0, code 1", None),
        ("en1: assigned 10.0.2.15", None),
    ],
)
def test_console_line_gives_the_verdict(line: str, verdict: Verdict | None) -> None:
    scanner = ConsoleScanner(NANOS_DISK.console)
    assert not scanner.feed(f"{line}\n".encode()), "QEMU ends by itself"
    assert scanner.verdict == verdict


def test_kernel_args_and_mounts_are_refused_by_label() -> None:
    with pytest.raises(Rejected, match=r"label vtapd.kernel-args='x' .*the system of a nanos guest takes no arguments"):
        booted(NANOS_DISK, kernel_args="x")
    with pytest.raises(Rejected, match=r"label vtapd.disk.0='/d,mount=/x' .*a disk without mount="):
        booted(NANOS_DISK, mounts=(Mount(0, "/x", "vtapd.disk.0", "/d,mount=/x", "ext"),))
