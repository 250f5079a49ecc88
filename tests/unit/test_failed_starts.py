"""A start that cannot succeed is given up: the same end before the guest's first instruction, each time."""

from dataclasses import replace

import pytest

from supervisor.core.guest.failed_starts import TRIES
from supervisor.core.guest.restart import (
    Evidence,
    RestartCurve,
    after_end,
    after_failed_start,
    after_start,
    classify,
    keeps_network,
    started_by_operator,
)
from supervisor.core.guest.spec import RestartPolicy
from supervisor.core.kinds import KINDS
from supervisor.core.record import Exit, GuestRecord

from .examples import PROCESS

REFUSED = Exit("qemu-exit", 1, "invalid kernel header", never_ran=True)


def after(*exits: Exit, policy: str = "always", guest: GuestRecord | None = None, uptime_s: float = 0.1) -> GuestRecord:
    """Return the record after these ends, one after the other."""
    guest = guest or GuestRecord()
    for exit in exits:
        started = after_start(guest, PROCESS)
        now_s = PROCESS.spawned_at_s + uptime_s
        guest = after_end(started, exit, RestartPolicy(policy), RestartCurve(), now_s, 0.5)
    return guest


@pytest.mark.parametrize("policy", ["always", "on-failure"])
def test_third_refusal_of_the_same_kind_is_the_last(policy: str) -> None:
    second = after(*[REFUSED] * (TRIES - 1), policy=policy)
    assert (second.done, second.failure) == (None, "")
    third = after(REFUSED, policy=policy, guest=second)
    assert (third.done, third.exits[-1].delay_s) == ("failed", None)
    assert "invalid kernel header" in third.failure
    assert started_by_operator(third).failure == after_start(third, PROCESS).failure == ""


def test_order_of_an_operator_gives_it_as_many_tries_again() -> None:
    failed = after(*[REFUSED] * TRIES)
    again = after(*[REFUSED] * (TRIES - 1), guest=started_by_operator(failed))
    assert again.done is None
    assert after(REFUSED, guest=again).done == "failed"


@pytest.mark.parametrize(
    "ends",
    [
        [Exit("qemu-exit", 1, "invalid kernel header")] * TRIES,
        [REFUSED, REFUSED, Exit("guest-panic")],
        [REFUSED, Exit("guest-panic"), REFUSED],
        [REFUSED, REFUSED, replace(REFUSED, detail="another")],
        [REFUSED, REFUSED, replace(REFUSED, code=2)],
        [replace(REFUSED, detail='Failed to get "write" lock')] * TRIES,
        [replace(REFUSED, detail="cannot set up guest memory 'pc.ram': Cannot allocate memory")] * TRIES,
    ],
)
def test_other_ends_are_tried_again(ends: list[Exit]) -> None:
    assert after(*ends).done is None


def test_qemu_that_says_nothing_is_given_up_too() -> None:
    assert "without a message (qemu-exit 3)" in after(*[Exit("qemu-exit", 3, never_ran=True)] * TRIES).failure


def test_exit_device_of_a_guest_is_no_failed_start() -> None:
    assert not classify(Evidence(status=3, ran=False), KINDS["hermit"]).never_ran


def test_lack_of_threads_has_its_own_remedy() -> None:
    lacking = Exit("qemu-signal", 6, "qemu_thread_create: Resource temporarily unavailable", never_ran=True)
    assert "--pids-limit" in after(*[lacking] * TRIES).failure


def test_numbers_in_the_message_may_differ() -> None:
    assert after(*(replace(REFUSED, detail=f"fd={number}: no") for number in range(TRIES))).done == "failed"


def test_start_of_no_qemu_is_tried_again_with_growing_delays_and_the_network_given_back() -> None:
    guest, curve, delays = GuestRecord(), RestartCurve(), []
    for _ in range(TRIES):
        assert not keeps_network(guest)
        guest = after_failed_start(guest, curve, 100.0, 0.5)
        delays.append(guest.not_before_s - 100.0)
    assert keeps_network(guest)
    assert delays == pytest.approx([curve.delay_s(number, 0.5) for number in range(1, TRIES + 1)])
    assert (guest.done, guest.exits, guest.crashes) == (None, (), 0)
    assert not keeps_network(after_start(guest, PROCESS))
    assert not keeps_network(started_by_operator(guest))


@pytest.mark.parametrize(
    ("evidence", "never_ran"),
    [
        (Evidence(status=1, complaint="unsupported machine type", ran=False), True),
        (Evidence(status=-6, complaint="qemu_thread_create: Resource temporarily unavailable", ran=False), True),
        (Evidence(status=1, complaint="unsupported machine type"), False),
        (Evidence(status=1, ran=False), True),
        (Evidence(status=-31, ran=False), True),
        (Evidence(status=-9, ran=False), False),
        (Evidence(status=-15, complaint="terminating on signal 15", ran=False), False),
        (Evidence(status=0, complaint="terminating on signal 15", ran=False), False),
        (Evidence(status=None, complaint="unsupported machine type", ran=False), False),
        (Evidence(status=1, complaint="warning: TCG lacks a feature", ran=False), True),
        (Evidence(status=-6, complaint="qemu: fatal: Trying to execute code outside RAM", ran=False), False),
        (Evidence(status=1, complaint="no", ran=False, asked="stopped"), False),
        (Evidence(status=1, complaint="no", ran=False, shutdown="guest-reset"), False),
    ],
)
def test_end_before_the_first_instruction(evidence: Evidence, never_ran: bool) -> None:
    assert classify(evidence, KINDS["rumprun"]).never_ran is never_ran
