"""The state and the reason of a container, from what is known of it."""

from dataclasses import replace

import pytest

from supervisor.core.container import Incarnation, Pid
from supervisor.core.guest.health_spec import parse_alive
from supervisor.core.guest.spec import GuestSpec
from supervisor.core.record import Exit, GuestRecord, Record, Sleep
from supervisor.core.report.status import ContainerStatus, GuestStatus
from supervisor.errors import Permanent, Rejected, Transient
from tests.unit.examples import ID, INCARNATION, NAME, PROCESS

CRASH = Exit("guest-panic")
UNKNOWN = ContainerStatus(id=ID, name=NAME)
RUNS = replace(UNKNOWN, incarnation=INCARNATION)
ATTACHED = replace(RUNS, attached=True)
GUEST = GuestStatus(spec=GuestSpec(kernel="/k", memory_mib=64), kind="rumprun", because="its label says so")
SERVES = replace(ATTACHED, guest=GUEST)
STARTED = replace(GUEST, qemu=PROCESS)
BOOTED = replace(STARTED, booted=True)
DETACHED = replace(SERVES, record=Record(ID, NAME, INCARNATION, detached=True))
READY = replace(BOOTED, qemu=replace(PROCESS, ready_at_s=101.0))
ASLEEP = GuestRecord(exits=(CRASH,), asleep=Sleep("stop", "no packets for 5 s", at="2026-01-01T00:00:00Z"))


def recorded(status: ContainerStatus, guest: GuestRecord, *, held: bool = False) -> ContainerStatus:
    return replace(status, record=Record(ID, NAME, INCARNATION, guest=guest, held=held))


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (UNKNOWN, "attaching"),
        (RUNS, "attaching"),
        (ATTACHED, "attached"),
        (replace(ATTACHED, error=Transient("the disk is full")), "attached"),
        (replace(ATTACHED, error=Permanent("no macvtap")), "failed"),
        (replace(SERVES, error=Rejected("no such kernel")), "rejected"),
        (replace(RUNS, ignored_reason="it uses the host's network"), "skipped"),
        (replace(DETACHED, ignored_reason="an operator detached it"), "detached"),
        (SERVES, "booting"),
        (replace(SERVES, attached=False), "attaching"),
        (recorded(SERVES, GuestRecord(exits=(CRASH,))), "backoff"),
        (recorded(SERVES, GuestRecord(done="failed", exits=(CRASH,))), "failed"),
        (recorded(SERVES, ASLEEP), "asleep"),
        (recorded(replace(SERVES, paused=True), ASLEEP), "paused"),
        (recorded(replace(SERVES, stopping=True), ASLEEP), "exited"),
        (recorded(replace(ATTACHED, guest=BOOTED), ASLEEP), "running"),
        (recorded(SERVES, GuestRecord(done="exited", exits=(CRASH,))), "exited"),
        (recorded(SERVES, GuestRecord(), held=True), "exited"),
        (replace(SERVES, stopping=True), "exited"),
        (replace(ATTACHED, guest=BOOTED, stopping=True), "running"),
        (replace(ATTACHED, stopping=True), "attached"),
        (replace(ATTACHED, guest=STARTED), "booting"),
        (replace(ATTACHED, guest=BOOTED), "running"),
        (replace(ATTACHED, guest=READY), "ready"),
        (replace(ATTACHED, guest=READY, paused=True), "paused"),
        (replace(ATTACHED, paused=True), "paused"),
        (recorded(replace(SERVES, paused=True), GuestRecord(exits=(CRASH,))), "paused"),
        (recorded(replace(SERVES, paused=True), GuestRecord(done="exited", exits=(CRASH,))), "exited"),
        (replace(RUNS, paused=True, ignored_reason="it uses the host's network"), "skipped"),
        (recorded(replace(ATTACHED, guest=BOOTED), GuestRecord(), held=True), "running"),
    ],
)
def test_state(status: ContainerStatus, state: str) -> None:
    assert status.state == state


SIGNALLED = "Docker sent the container its stop signal; if it runs on, its guest starts again; at once: vtapd start"
OPERATOR = "an operator stopped its guest; start it again: vtapd start"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (UNKNOWN, None),
        (SERVES, None),
        (replace(UNKNOWN, error=Transient("Docker does not answer")), "Docker does not answer"),
        (replace(SERVES, guest_error=Permanent("no QEMU", remedy="install it")), "no QEMU; install it"),
        (replace(SERVES, error=Transient("the disk is full"), guest_error=Permanent("no QEMU")), "the disk is full"),
        (replace(ATTACHED, ignored_reason="it uses the host's network"), "it uses the host's network"),
        (recorded(SERVES, GuestRecord(), held=True), OPERATOR),
        (recorded(replace(ATTACHED, guest=BOOTED), GuestRecord(), held=True), None),
        (recorded(SERVES, GuestRecord(done="exited", exits=(CRASH,))), None),
        (recorded(SERVES, GuestRecord(done="failed")), None),
        (recorded(SERVES, GuestRecord(done="failed", failure="QEMU says no", exits=(CRASH,))), "QEMU says no"),
        (replace(ATTACHED, paused=True), "Docker paused the container; continue it: docker unpause"),
        (
            recorded(SERVES, GuestRecord(exits=(Exit("qemu-exit", 1, "it is locked", never_ran=True),))),
            "QEMU did not start its guest, and is tried again: it is locked",
        ),
        (replace(SERVES, stopping=True), SIGNALLED),
        (replace(ATTACHED, guest=BOOTED, stopping=True), None),
        (recorded(ATTACHED, GuestRecord(done="failed", exits=(CRASH,))), None),
        (
            replace(SERVES, guest=replace(READY, spec=replace(READY.spec, alive=parse_alive("tcp:80")), answers=False)),
            "its guest does not answer vtapd.alive=tcp:80,every=5s,fails=3",
        ),
        (
            recorded(SERVES, ASLEEP),
            "its guest sleeps since 2026-01-01T00:00:00Z; a packet for it wakes it; at once: vtapd wake",
        ),
        (
            recorded(replace(ATTACHED, guest=BOOTED), GuestRecord(sleep_failure="no room")),
            "its guest could not be put to sleep: no room",
        ),
        (
            recorded(SERVES, GuestRecord(done="failed", exits=(CRASH,))),
            "its guest ended (guest-panic), and vtapd.restart=on-failure allows no further start",
        ),
        (
            recorded(SERVES, GuestRecord(exits=(Exit("guest-exit", 7, delay_s=1.5),))),
            "its guest ended (guest-exit 7), and starts again after 1.5 s",
        ),
        (
            recorded(SERVES, GuestRecord(exits=(Exit("stopped"),))),
            "its guest ended (stopped), and starts again",
        ),
    ],
)
def test_reason(status: ContainerStatus, reason: str | None) -> None:
    assert status.reason == reason


def test_guest_that_was_found_ready_but_does_not_run_is_neither_up_nor_ready() -> None:
    assert not GUEST.is_up
    assert not GUEST.is_ready
    assert BOOTED.is_up
    assert READY.is_ready
    assert not replace(READY, answers=False).is_ready


def test_record_is_empty_without_a_record_of_this_run() -> None:
    assert RUNS.guest_record == GuestRecord()
    assert not replace(RUNS, incarnation=Incarnation(Pid(1), 1)).guest_stopped_by_operator
