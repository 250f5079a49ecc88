"""When a snapshot is restored, and to which start it belongs."""

from dataclasses import replace

import pytest

from supervisor.core.guest.restart import (
    RestartCurve,
    after_end,
    after_hand_over,
    after_refresh,
    after_restore,
    after_start,
    with_restore,
)
from supervisor.core.guest.snapshot import bytes_of, differences, identity_of, outdated_because
from supervisor.core.guest.spec import RestartPolicy
from supervisor.core.record import Exit, GuestRecord, SnapshotRecord

from .examples import PROCESS

CURVE = RestartCurve()
CRASH, CLEAN, STOPPED = Exit("guest-reset"), Exit("guest-exit", 0), Exit("stopped")
ARGUMENTS, MODULES, FILES = ("qemu", "-m", "64M"), (b"{}",), {"kernel": "1", "QEMU": "7.2"}
IDENTITY = identity_of(ARGUMENTS, MODULES, FILES)
SNAPSHOT = SnapshotRecord(taken_at_s=1.0, identity=IDENTITY, folder="1:2", state_bytes=500, memory_bytes=4096)
WAITING = replace(PROCESS, start_ticks=PROCESS.start_ticks + 1, spawned_at_s=5.0)
SAVED = GuestRecord(process=PROCESS, snapshot=SNAPSHOT)


def ended(
    guest: GuestRecord = SAVED, exit: Exit = CRASH, policy: str = "on-failure", after_s: float = 1.0
) -> GuestRecord:
    assert guest.process is not None
    return after_end(guest, exit, RestartPolicy(policy), CURVE, guest.process.spawned_at_s + after_s, 0.5)


class TestIdentity:
    def test_same_start_has_the_same_identity(self) -> None:
        again = identity_of(list(ARGUMENTS), iter(MODULES), dict(reversed(FILES.items())))
        assert not outdated_because(IDENTITY, again)

    @pytest.mark.parametrize(
        ("now", "different"),
        [
            (identity_of(("qemu", "-m", "65M"), MODULES, FILES), "command line"),
            (identity_of(("qemu", "-m64M", ""), MODULES, FILES), "command line"),
            (identity_of(ARGUMENTS, (b"{ }",), FILES), "configuration"),
            (identity_of(ARGUMENTS, MODULES, FILES | {"QEMU": "9.1", "kernel": "2"}), "QEMU, kernel"),
            (identity_of(ARGUMENTS, MODULES, FILES | {"initrd": "1"}), "initrd"),
        ],
    )
    def test_what_differs_is_named(self, now: tuple[tuple[str, str], ...], different: str) -> None:
        assert differences(IDENTITY, now) == different
        assert outdated_because(IDENTITY, now) == f"other than at the snapshot: {different}"


class TestAfterEnd:
    def test_first_crash_restores_at_once(self) -> None:
        record = ended()
        assert record.snapshot == SNAPSHOT
        assert record.exits[-1].delay_s == 0.0
        assert record.crashes == 1

    def test_crash_soon_after_a_restore_boots_with_a_delay(self) -> None:
        record = ended(replace(SAVED, process=replace(PROCESS, restored=True), crashes=1))
        assert record.snapshot is None
        assert record.exits[-1].delay_s == pytest.approx(CURVE.delay_s(2, 0.5), abs=0.001)
        assert record.boot_note == "Its last start booted it: the guest crashed 1.0 s after it was restored."

    def test_crash_long_after_a_restore_restores_at_once(self) -> None:
        restored = replace(SAVED, process=replace(PROCESS, restored=True), crashes=1)
        record = ended(restored, after_s=CURVE.reset_after_s)
        assert record.snapshot == SNAPSHOT
        assert record.exits[-1].delay_s == 0.0

    def test_later_crash_in_a_row_restores_with_the_delay_of_the_curve(self) -> None:
        record = ended(replace(SAVED, crashes=2))
        assert record.snapshot == SNAPSHOT
        assert record.exits[-1].delay_s == pytest.approx(CURVE.delay_s(3, 0.5), abs=0.001)

    @pytest.mark.parametrize(("exit", "policy"), [(CLEAN, "always"), (STOPPED, "always"), (CRASH, "no")])
    def test_other_ends_keep_no_snapshot(self, exit: Exit, policy: str) -> None:
        record = ended(replace(SAVED, boot_note="x"), exit=exit, policy=policy)
        assert (record.snapshot, record.snapshot_note, record.boot_note) == (None, "", "")

    def test_guest_without_a_snapshot_keeps_its_note(self) -> None:
        record = ended(replace(SAVED, snapshot=None, snapshot_note="It has no snapshot: full."))
        assert record.snapshot_note == "It has no snapshot: full."
        assert record.exits[-1].delay_s == pytest.approx(0.1)


def test_guest_goes_on_in_the_qemu_that_waited() -> None:
    guest = GuestRecord(process=PROCESS, waiting=WAITING, snapshot_note="x", boot_note="y")
    record = after_hand_over(guest, SNAPSHOT)
    assert (record.process, record.waiting, record.snapshot) == (WAITING, None, SNAPSHOT)
    assert (record.snapshot_note, record.boot_note) == ("", "y"), "it is still true why it was booted"


def test_guest_that_is_moved_to_another_qemu_has_no_snapshot() -> None:
    record = after_refresh(GuestRecord(process=PROCESS, waiting=WAITING, snapshot=SNAPSHOT))
    assert (record.process, record.waiting, record.snapshot) == (WAITING, None, None)
    assert record.snapshot_note == "It has no snapshot: it was moved to another QEMU. Its next start takes one."
    assert after_refresh(GuestRecord(process=PROCESS, waiting=WAITING)).snapshot_note == ""


def test_restore_counts_as_a_restart() -> None:
    crashed = replace(ended(), waiting=WAITING)
    record = after_restore(crashed, now_s=9.0)
    assert record.process == replace(WAITING, spawned_at_s=9.0, restored=True)
    assert (record.waiting, record.snapshot, record.restarts) == (None, SNAPSHOT, 1)
    assert record.restore_counts == {"restored": 1}
    assert with_restore(record, "failed").restore_counts == {"restored": 1, "failed": 1}


def test_cold_start_keeps_nothing_of_a_restore() -> None:
    assert after_start(ended(replace(SAVED, snapshot=None)), PROCESS).restore_counts == {}


def test_folders_on_disk_are_those_of_its_qemus_and_of_its_snapshot() -> None:
    record = replace(SAVED, snapshot=replace(SNAPSHOT, path="/a"), waiting=replace(WAITING, path="/b"))
    assert record.folders == {"/a", "/b"}
    assert SAVED.folders == GuestRecord().folders == frozenset()


def test_bytes_of_a_snapshot() -> None:
    assert bytes_of(None) == 0
    assert bytes_of(SNAPSHOT) == 4596
