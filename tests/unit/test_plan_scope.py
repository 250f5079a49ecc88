"""Interfaces that vtapd does not concern itself with, or not any more."""

from dataclasses import replace

import pytest

from supervisor.core.attach.actions import Attempt, CreateTap, DeleteTap, DenyDevice, RemoveNode, WriteRecord
from supervisor.core.attach.plan import next_step
from supervisor.core.attach.state import Desired

from .examples import ETH0, ETH1, ID, NAME
from .invariants import check, is_same
from .simulated_host import SimulatedHost

ATTACHED = Desired(attached=True)
GUEST = Desired(attached=True, takeover=True, guest=True, cards=8)
OWN_ADDRESS = replace(GUEST, takeover=False)


def host(*unwanted: str) -> SimulatedHost:
    return SimulatedHost({"eth0": ETH0, "eth1": ETH1}, unwanted=set(unwanted))


def check_untouched(subject: SimulatedHost, name: str) -> None:
    assert name not in subject.taps
    assert subject.record is not None
    assert subject.record.tap_of(name) is None
    assert is_same(subject, subject.interfaces[name], subject.docker[name])
    check(subject)


@pytest.mark.parametrize("desired", [ATTACHED, GUEST, OWN_ADDRESS])
def test_unwanted_interface_gets_nothing(desired: Desired) -> None:
    subject = host("eth1")
    actions = subject.converge(desired)
    assert [each.interface.name for each in actions if isinstance(each, CreateTap)] == ["eth0"]
    check_untouched(subject, "eth1")


@pytest.mark.parametrize("desired", [ATTACHED, GUEST, OWN_ADDRESS])
def test_interface_that_is_not_wanted_any_more_is_undone_once_no_guest_uses_it(desired: Desired) -> None:
    """Interrupted after each change, and continued by another daemon."""
    changes = 0
    while True:
        subject = host()
        subject.converge(desired)
        subject.unwanted.add("eth1")
        if subject.guest is not None:
            assert subject.converge(desired) == [], "the guest that runs keeps its card"
            subject.guest = None
        for number, _ in enumerate(subject.advance(desired)):
            check(subject)
            if number == changes:
                break
        else:
            break
        changes += 1
        subject.converge(desired)
        check_untouched(subject, "eth1")
        assert list(subject.taps) == ["eth0"]
        assert (subject.guest is not None) == desired.guest
    assert changes > 3


def test_interface_that_is_not_wanted_holds_up_no_other() -> None:
    """Its undo rests, and it comes first."""
    subject = host()
    subject.converge(ATTACHED)
    subject.unwanted.add("eth0")
    del subject.taps["eth1"]
    every_undo = {Attempt(kind, "eth0") for kind in (RemoveNode, DenyDevice, DeleteTap, WriteRecord)}
    step = next_step(ID, NAME, ATTACHED, subject.seen(), subject.record, frozenset(every_undo))
    assert step is not None
    assert step.interface == "eth1"
