"""The QEMU command line in full: an option and its value on one line."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.guest.qemu_argv import build_arguments, has_vga
from supervisor.core.guest.qemu_command import (
    accelerator_of,
    guest_name,
    has_memory_file,
    has_screen,
    machine_of,
    memory_mib_of,
    queues_of,
    slots_of,
)
from supervisor.core.guest.qemu_inputs import (
    Card,
    Descriptors,
    DiskFile,
    GuestState,
    ShareDevice,
    module_name,
    without_numbers,
)
from supervisor.core.guest.spec import GuestSpec
from supervisor.core.guest.virtiofsd_argv import server_arguments, server_name
from supervisor.core.kinds import FORMS
from supervisor.core.kinds.kind import Boot, GuestKind, Machine

from .examples import ID

CARD = Card(slot=0, queues=(11,), mac="02:42:ac:11:00:02", mtu=1500)
FDS = Descriptors(boot_disk=None, modules=(), disks=(), cards=(CARD,), qmp=12, console=13, events=15, log=14)
OTHER_CARD = Card(slot=64, queues=(17,), mac="02:42:ac:12:00:05", mtu=1400)
SPEC = GuestSpec("/hello.bin", memory_mib=64)
NO_BOOT, PC = Boot(), Machine()
GUEST = "vtapd-c0ffee0000000000000000000000000000000000000000000000000000000000"

RUMPRUN_BY_TCG = f"""\
qemu-system-x86_64
-name {GUEST}
-nodefaults
-no-user-config
-display none
-machine pc
-accel tcg,tb-size=32
-cpu max
-m 64M
-smp 1
-kernel kernel
-initrd module0
-netdev tap,id=net0,fd=11
-device virtio-net-pci,id=nic0,netdev=net0,mac=02:42:ac:11:00:02,host_mtu=1500,romfile=
-add-fd fd=14,set=1
-chardev socket,id=console,fd=13,server=on,wait=on,logfile=/dev/fdset/1,logappend=on
-serial chardev:console
-chardev socket,id=qmp,fd=12,server=on,wait=off
-mon chardev=qmp,mode=control
-chardev socket,id=events,fd=15
-mon chardev=events,mode=control
-device pvpanic
-action reboot=shutdown,shutdown=poweroff,panic=shutdown
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
"""

LINUX_BY_KVM = f"""\
/opt/qemu
-name {GUEST}
-nodefaults
-no-user-config
-display none
-machine q35
-accel kvm
-cpu host
-m 256M
-smp 4
-kernel kernel
-initrd module0,module1
-append console=ttyS0,115200 quiet
-netdev tap,id=net0,fd=11
-device virtio-net-pci,id=nic0,netdev=net0,mac=02:42:ac:11:00:02,host_mtu=9000,romfile=
-netdev tap,id=net64,fd=17
-device virtio-net-pci,id=nic64,netdev=net64,mac=02:42:ac:12:00:05,host_mtu=1400,romfile=
-chardev socket,id=console,fd=13,server=on,wait=on
-serial chardev:console
-chardev socket,id=qmp,fd=12,server=on,wait=off
-mon chardev=qmp,mode=control
-chardev socket,id=events,fd=15
-mon chardev=events,mode=control
-device pvpanic
-action reboot=shutdown,shutdown=poweroff,panic=shutdown
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
"""


def lines(arguments: list[str]) -> str:
    """Join an option and its value on one line."""
    text = arguments[0]
    for argument in arguments[1:]:
        text += ("\n" if argument.startswith("-") else " ") + argument
    return text + "\n"


def qemu_argv(
    spec: GuestSpec = SPEC, accel: str = "tcg", boot: Boot = NO_BOOT, fds: Descriptors = FDS,
    binary: str = "qemu-system-x86_64", machine: Machine = PC,
) -> list[str]:  # fmt: skip
    return build_arguments(binary, ID, spec, accel, machine, boot, fds)


def test_rumprun_with_tcg() -> None:
    assert lines(qemu_argv(fds=replace(FDS, modules=(module_name(0),)))) == RUMPRUN_BY_TCG


def build_with_state(state: GuestState) -> list[str]:
    return build_arguments("qemu", ID, SPEC, "tcg", PC, NO_BOOT, FDS, state)


def test_memory_is_in_a_file_that_the_guest_writes() -> None:
    arguments = build_with_state(GuestState(memory_file="memory"))
    assert "pc,memory-backend=ram" in arguments
    assert "memory-backend-file,id=ram,mem-path=memory,size=64M,share=on" in arguments
    assert "-incoming" not in arguments


def test_guest_with_a_snapshot_learns_that_it_was_restored() -> None:
    assert "vmgenid,guid=auto" in qemu_argv(replace(SPEC, snapshot=True))
    assert "vmgenid,guid=auto" not in qemu_argv(replace(SPEC, snapshot=True, machine="microvm"))
    assert "vmgenid,guid=auto" not in qemu_argv()


def test_queues_are_read_off_the_arguments() -> None:
    card = replace(CARD, queues=(11, 12), vhosts=(13, 14))
    arguments = qemu_argv(fds=replace(FDS, cards=(card, OTHER_CARD)))
    assert queues_of(arguments) == {0: (11, 12), 64: (17,)}
    assert queues_of(["qemu", "-netdev", "user,id=net0"]) == {}


def test_memory_is_read_off_the_arguments() -> None:
    assert memory_mib_of(qemu_argv()) == 64
    assert memory_mib_of(["qemu", "-m", "1G"]) is None
    assert has_memory_file(build_with_state(GuestState("memory")))
    assert not has_memory_file(qemu_argv())


def test_machine_is_read_off_the_arguments() -> None:
    assert machine_of(build_with_state(GuestState("memory"))) == machine_of(qemu_argv()) == "pc"
    assert machine_of(["qemu", "-m", "64M"]) is None


def test_descriptors_have_no_part_in_what_a_start_is() -> None:
    cards = (replace(CARD, queues=(11, 12), vhosts=(13, 14)),)
    disks = (DiskFile(0, 21, read_only=True),)
    one = replace(FDS, cards=cards, disks=disks, modules=("module0",))
    other = replace(
        one, cards=(replace(CARD, queues=(31, 32), vhosts=(33, 34)),), disks=(DiskFile(0, 41, read_only=True),), qmp=42,
        console=43, events=44, log=None,
    )  # fmt: skip
    assert without_numbers(one) == without_numbers(other)
    assert qemu_argv(fds=without_numbers(one)) != qemu_argv(fds=without_numbers(replace(one, modules=())))


def test_qemu_that_waits_for_a_state_differs_in_nothing_of_the_machine() -> None:
    writing, reading = (
        build_with_state(GuestState("memory", shared=share, incoming=not share)) for share in (True, False)
    )
    assert reading[-2:] == ["-incoming", "defer"]
    assert [word.replace("share=off", "share=on") for word in reading[:-2]] == writing


def test_linux_with_kvm_without_a_log() -> None:
    arguments = qemu_argv(
        replace(SPEC, memory_mib=256, cpus=4, machine="q35"),
        "kvm",
        Boot("console=ttyS0,115200 quiet"),
        fds=replace(
            FDS, modules=(module_name(0), module_name(1)), log=None, cards=(replace(CARD, mtu=9000), OTHER_CARD)
        ),
        binary="/opt/qemu",
    )
    assert lines(arguments) == LINUX_BY_KVM


def test_screen_is_added_only_if_requested() -> None:
    assert not has_screen(qemu_argv())
    arguments = qemu_argv(replace(SPEC, screen=True))
    assert has_screen(arguments)
    assert "-device pvpanic\n-device VGA,vgamem_mb=4\n-action" in lines(arguments)


@pytest.mark.parametrize(
    ("machine", "shows"),
    [("pc", True), ("q35", True), ("pc-i440fx-7.2", True), ("pc-q35-9.0", True), ("microvm", False), ("isapc", False)],
)
def test_machines_with_vga(machine: str, shows: bool) -> None:
    assert has_vga(machine) == shows


def test_disk_is_a_drive_by_descriptor_and_not_a_kernel() -> None:
    machine = Machine(devices=("pvpanic", "isa-debug-exit"), boots_disk=True)
    text = lines(qemu_argv(machine=machine, fds=replace(FDS, boot_disk=10)))
    assert "-kernel" not in text
    drive = "-drive if=virtio,format=raw,auto-read-only=off,file.locking=on,file.filename=/dev/fdset/2"
    assert f"-add-fd fd=10,set=2\n{drive}\n" in text
    assert "-device pvpanic\n-device isa-debug-exit\n" in text


def test_machine_label_takes_precedence_over_the_kind() -> None:
    machine = Machine(type="microvm", nic="virtio-net-device")
    assert "-machine microvm\n" in lines(qemu_argv(machine=machine))
    assert "-device virtio-net-device,id=nic0,netdev=net0," in lines(qemu_argv(machine=machine))
    assert "-machine q35\n" in lines(qemu_argv(replace(SPEC, machine="q35"), machine=machine))


def test_firmware_prints_on_the_serial_port_also_with_a_screen() -> None:
    machine = Machine(firmware_on_serial=True)
    assert "-machine pc,graphics=off\n" in lines(qemu_argv(machine=machine))
    assert "-machine q35,graphics=off\n" in lines(qemu_argv(replace(SPEC, machine="q35"), machine=machine))
    assert has_screen(qemu_argv(replace(SPEC, screen=True), machine=machine))


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_keeps_the_legacy_virtio_interface(form: GuestKind) -> None:
    text = lines(qemu_argv(machine=form.machine))
    assert "disable-legacy" not in text
    assert "disable-modern" not in text


def test_guest_is_recognised_by_its_name() -> None:
    assert guest_name(ID) == GUEST
    assert GUEST in qemu_argv()


def test_qemu_inherits_exactly_its_descriptors() -> None:
    fds = replace(FDS, boot_disk=10, modules=("module0",))
    assert sorted(fds.all()) == [10, 11, 12, 13, 14, 15]
    assert sorted(replace(fds, log=None, boot_disk=None).all()) == [11, 12, 13, 15]


@given(st.text(min_size=1), st.text(), st.text())
def test_text_from_outside_changes_only_its_own_argument(command_line: str, args: str, path: str) -> None:
    """-append takes any value as it is; no other text of the user reaches QEMU."""
    spec = replace(SPEC, args=args, kernel=path, initrd=path)
    assert qemu_argv(spec, boot=Boot(command_line)) == _with_append(qemu_argv(), command_line)


def _with_append(arguments: list[str], value: str) -> list[str]:
    at = arguments.index("-netdev")
    return [*arguments[:at], "-append", value, *arguments[at:]]


def test_card_has_a_queue_for_each_cpu_and_vhost_for_each_queue() -> None:
    card = replace(CARD, queues=(11, 30, 31), vhosts=(40, 41, 42))
    fds = replace(FDS, cards=(card,))
    arguments = qemu_argv(fds=fds)
    assert "tap,id=net0,fds=11:30:31,vhost=on,vhostfds=40:41:42" in arguments
    assert lines(arguments).count("romfile=,mq=on,vectors=8\n") == 1
    assert {11, 30, 31, 40, 41, 42} <= set(fds.all())
    assert "tap,id=net0,fd=11,vhost=on,vhostfd=40" in qemu_argv(fds=replace(FDS, cards=(replace(CARD, vhosts=(40,)),)))
    assert slots_of(arguments) == (0,)


def test_disks_are_locked_and_passed_by_descriptor_in_their_format() -> None:
    disks = (DiskFile(0, 20, read_only=False), DiskFile(3, 21, read_only=True, format="qcow2"))
    arguments = lines(qemu_argv(fds=replace(FDS, disks=disks)))
    assert (
        """\
-add-fd fd=20,set=10
-blockdev {"driver": "raw", "node-name": "disk0", "read-only": false, "auto-read-only": false, "file": \
{"driver": "file", "filename": "/dev/fdset/10", "locking": "on", "read-only": false, "auto-read-only": false}}
-device virtio-blk-pci,drive=disk0
-add-fd fd=21,set=13
-blockdev {"driver": "qcow2", "node-name": "disk3", "read-only": true, "auto-read-only": false, "file": \
{"driver": "file", "filename": "/dev/fdset/13", "locking": "on", "read-only": true, "auto-read-only": false}, \
"backing": null}
-device virtio-blk-pci,drive=disk3
"""
        in arguments
    )
    assert {20, 21} <= set(replace(FDS, disks=disks).all())


def test_share_is_a_folder_of_qemus_own_file_system() -> None:
    shares = (ShareDevice(0, "data", read_only=False), ShareDevice(7, "etc", read_only=True))
    arguments = lines(qemu_argv(fds=replace(FDS, shares=shares)))
    assert (
        """\
-fsdev local,id=share0,path=/share/0,security_model=none,multidevs=remap
-device virtio-9p-pci,fsdev=share0,mount_tag=data
-fsdev local,id=share7,path=/share/7,security_model=none,multidevs=remap,readonly=on
-device virtio-9p-pci,fsdev=share7,mount_tag=etc
"""
        in arguments
    )


def test_share_by_virtiofs_is_a_connection_to_its_server() -> None:
    fds = replace(FDS, shares=(ShareDevice(3, "data", read_only=True, server=21),))
    arguments = lines(qemu_argv(fds=fds))
    assert "-chardev socket,id=share3,fd=21\n-device vhost-user-fs-pci,chardev=share3,tag=data\n" in arguments
    assert 21 in fds.all()


def test_server_of_a_share_is_recognised_by_its_name() -> None:
    name = server_name(ID, 3)
    assert ID in name
    arguments = server_arguments(name, 3, 21, caches_metadata=False)
    assert arguments[:6] == [name, "-f", "--fd=21", "--rlimit-nofile=0", "-o", "source=/share/3"]
    assert arguments[-1] == "timeout=0"
    assert "timeout=0" not in server_arguments(name, 3, 21, caches_metadata=True)


@pytest.mark.parametrize("option", ["-sandbox", "-no-user-config", "-nodefaults"])
def test_sandbox_options_are_always_present(option: str) -> None:
    for accel in ("kvm", "tcg"):
        assert option in qemu_argv(replace(SPEC, machine="q35", cpus=64), accel)


@pytest.mark.parametrize("accel", ["kvm", "tcg"])
def test_accelerator_is_read_from_the_arguments(accel: str) -> None:
    assert accelerator_of(qemu_argv(accel=accel)) == accel


def test_cards_are_read_from_the_arguments() -> None:
    assert slots_of(qemu_argv(fds=replace(FDS, cards=(CARD, OTHER_CARD)))) == (0, 64)
    assert slots_of(["qemu", "-netdev", "user,id=net0", "-netdev"]) == ()


def test_unknown_accelerator_in_the_arguments_counts_as_tcg() -> None:
    assert accelerator_of(["qemu", "-accel"]) == "tcg"
