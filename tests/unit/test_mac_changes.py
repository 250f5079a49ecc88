"""The MACs that a guest has set itself, from QEMU's answer."""

from dataclasses import replace

import pytest

from supervisor.core.guest.mac_changes import changed_macs, given_macs
from supervisor.core.guest.spec import GuestSpec
from supervisor.core.record import Record, TapRecord
from supervisor.core.report.link_notes import notes_on_macs
from supervisor.core.report.status import ContainerStatus, GuestStatus
from tests.unit.examples import ID, INCARNATION, NAME

MAC, OTHER = "02:42:ac:11:00:02", "02:00:00:00:00:99"
COMMAND = (
    "qemu", "-device", f"virtio-net-pci,id=nic0,netdev=net0,mac={MAC},host_mtu=1500,romfile=",
    "-device", "virtio-blk-pci,drive=disk0", "-device", f"virtio-net-device,id=nic12,netdev=net12,mac={OTHER}",
)  # fmt: skip


def test_macs_are_read_from_the_command_line() -> None:
    assert given_macs(COMMAND) == {0: MAC, 12: OTHER}


@pytest.mark.parametrize(
    ("answer", "changed"),
    [
        ([{"name": "nic0", "main-mac": MAC}], {}),
        ([{"name": "nic0", "main-mac": MAC.upper()}], {}),
        ([{"name": "nic0", "main-mac": OTHER, "promiscuous": True}], {0: OTHER}),
        ([{"name": "nic7", "main-mac": OTHER}, {"name": "else", "main-mac": OTHER}, {"name": "nic0"}, 3], {}),
        ({"name": "nic0"}, {}),
    ],
)
def test_changed_macs_are_found(answer: object, changed: dict[int, str]) -> None:
    assert changed_macs(answer, {0: MAC}) == changed


def test_note_names_the_interface() -> None:
    record = Record(ID, NAME, INCARNATION, (TapRecord(0, "eth0", "vtap110002"), TapRecord(1, "eth1", "vtap120002")))
    guest = GuestStatus(spec=GuestSpec(kernel="/k", memory_mib=64), kind="linux", because="", changed_macs={1: OTHER})
    status = ContainerStatus(id=ID, name=NAME, record=record, guest=guest)
    (note,) = notes_on_macs(status)
    assert note.startswith(f"The guest changed its MAC on eth1 to {OTHER}")
    assert list(notes_on_macs(replace(status, guest=None))) == []
    assert list(notes_on_macs(replace(status, record=None))) == []
