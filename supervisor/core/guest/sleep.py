"""What the record of a guest says while it falls asleep, sleeps and is woken: the steps, as changes of the record.

    awake ─ falls_asleep ─> falling ─ ends ─> ending ─ asleep ─> asleep ─ waking ─> waking ─ after_start ─> awake
              falling ─ waking, stays_awake ─> awake: it could not be put to sleep, or something came for it

Each step is on disk before what it announces. So a later daemon goes on from any of them.
"""

from dataclasses import replace

from supervisor.core.guest.idle_spec import SUSPEND
from supervisor.core.record import GuestRecord, Sleep


def falls_asleep(guest: GuestRecord, mode: str, because: str) -> GuestRecord:
    """Return the record of a guest that is to sleep. One that already is, or is on its way, stays as it is."""
    if guest.asleep is not None or guest.process is None:
        return guest
    return replace(guest, asleep=Sleep(mode, because), sleep_failure="")


def ends(guest: GuestRecord, state_bytes: int = 0, disks: tuple[str, ...] = ()) -> GuestRecord:
    """Return the record from which on its QEMU is ended: what is to be kept of its state is in a file."""
    assert guest.asleep is not None, "only a guest that falls asleep is ended for that"
    return replace(guest, asleep=replace(guest.asleep, ends=True, state_bytes=state_bytes, disks=disks))


def is_kept(guest: GuestRecord) -> bool:
    """Return whether a guest that sleeps can go on where it was."""
    asleep = guest.asleep
    return asleep is not None and asleep.mode == SUSPEND and asleep.process is not None and not asleep.lost


def lost(guest: GuestRecord, why: str) -> GuestRecord:
    """Return the record of a guest that sleeps and has to boot when it is woken: no QEMU waits for its state."""
    assert guest.asleep is not None, "only a guest that sleeps has a state that is kept"
    return replace(guest, waiting=None, asleep=replace(guest.asleep, lost=why))


def is_asleep_after_end(guest: GuestRecord) -> bool:
    """Return whether the end of its QEMU leaves a guest that sleeps."""
    return guest.asleep is not None and guest.asleep.ends


def asleep(guest: GuestRecord, at_s: float, at: str) -> GuestRecord:
    """Return the record after its QEMU has ended. `at_s` is in seconds since boot, `at` in ISO 8601.

    Its snapshot ends: a guest that sleeps takes no memory. One is taken again when it is awake and ready.
    """
    assert guest.asleep is not None, "only a guest that falls asleep sleeps"
    sleeps = replace(guest.asleep, process=guest.process, since_s=at_s, at=at)
    awake = replace(guest, process=None, waiting=None, snapshot=None, snapshot_note="", boot_note="")
    return replace(awake, asleep=sleeps, sleeps=guest.sleeps + 1)


def waking(guest: GuestRecord, at_s: float, because: str) -> GuestRecord:
    """Return the record of a guest that something woke at that time. The first reason holds."""
    if guest.asleep is None or guest.asleep.woken_at_s is not None:
        return guest
    return replace(guest, asleep=replace(guest.asleep, woken_at_s=at_s, because=because))


def stays_awake(guest: GuestRecord) -> GuestRecord:
    """Return the record of a guest whose QEMU runs on: it is not to fall asleep any more."""
    return replace(guest, asleep=None)


def cannot_sleep(guest: GuestRecord, at_s: float, why: str) -> GuestRecord:
    """Return the record of a guest that could not be put to sleep."""
    return replace(waking(guest, at_s, "it could not be put to sleep"), sleep_failure=why)


def forgotten(guest: GuestRecord) -> GuestRecord:
    """Return the record of a guest that will not be woken: nothing is left of its sleep, and its next start boots."""
    return replace(guest, asleep=None, sleep_failure="")
