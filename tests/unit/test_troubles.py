"""What failed on an interface: when it is over, and whether it is the container's error."""

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from supervisor.core.attach import actions
from supervisor.core.attach.actions import Action, Attempt
from supervisor.core.attach.state import Desired, Seen
from supervisor.core.attach.troubles import Trouble, container_error, is_over, may_rest
from supervisor.core.devices.wake_program import Wakers
from supervisor.core.links import IfIndex
from supervisor.errors import Permanent, Transient

from .examples import ETH0, ETH1
from .simulated_host import SimulatedHost

if TYPE_CHECKING:
    from supervisor.core.record import Record

NOTHING, TAP = Desired(False), Desired(True)
SERVED = Desired(True, takeover=True, cards=9, guest=True)
BRIEF, LASTING = Transient("not now"), Permanent("never")


def host_at(*desired: Desired, **faults: type[Action]) -> SimulatedHost:
    host = SimulatedHost({"eth0": ETH0, "eth1": ETH1})
    host.faults = {Attempt(kind, name): 0 for name, kind in faults.items()}
    for each in desired:
        host.converge(each)
    return host


def trouble_of(kind: type[Action], name: str | None = "eth1", error: Permanent | Transient = LASTING) -> Trouble:
    index = {None: None, "eth0": ETH0.index, "eth1": ETH1.index}[name]
    return Trouble(Attempt(kind, name), error, index)


def over(trouble: Trouble, desired: Desired, host: SimulatedHost) -> bool:
    return is_over(trouble, desired, host.seen(), host.record)


@pytest.mark.parametrize(
    ("attempt", "expected"),
    [
        (Attempt(actions.CreateTap, "eth0"), True),
        (Attempt(actions.GiveBack, "eth0"), True),
        (Attempt(actions.LinkNetns), True),
        (Attempt(actions.MarkReady), True),
        (Attempt(actions.MarkExit), True),
        (Attempt(actions.WriteRecord), False),
        (Attempt(actions.WriteRecord, "eth0"), False),
        (Attempt(actions.StartGuest), False),
        (Attempt(actions.StopGuest, "eth0"), False),
    ],
)
def test_nothing_is_done_that_cannot_be_recorded(attempt: Attempt, expected: bool) -> None:
    assert may_rest(attempt) == expected


def test_trouble_is_brief_at_first_if_it_may_end_by_itself() -> None:
    trouble = trouble_of(actions.CreateTap, error=BRIEF)
    assert trouble.is_brief
    assert not replace(trouble, failures=3).is_brief
    assert not trouble_of(actions.CreateTap).is_brief
    assert not trouble_of(actions.LinkNetns, None, BRIEF).is_brief
    assert trouble.due_at(5.0).retry_at_s == 5.0


def test_missing_link_is_not_waited_for() -> None:
    trouble = trouble_of(actions.OpenPrivateLink, error=BRIEF)
    assert trouble.is_of_link
    assert not trouble.is_brief
    assert trouble_of(actions.ClosePrivateLink).is_undo


class TestIsOver:
    @pytest.mark.parametrize("kind", [actions.OpenPrivateLink, actions.ClosePrivateLink])
    def test_step_of_a_link(self, kind: type[Action]) -> None:
        linked = replace(SERVED, link_address="169.254.118.1")
        assert over(trouble_of(kind), SERVED, host_at(SERVED))
        assert not over(trouble_of(kind), linked, host_at(linked, eth1=actions.OpenPrivateLink))

    @pytest.mark.parametrize("kind", [actions.CreateTap, actions.MakeNode, actions.AllowDevice, actions.RemoveNode])
    def test_step_of_an_interface_that_is_attached(self, kind: type[Action]) -> None:
        assert over(trouble_of(kind), TAP, host_at(TAP))

    def test_step_of_an_interface_that_is_not_attached(self) -> None:
        assert not over(trouble_of(actions.CreateTap), TAP, host_at(TAP, eth1=actions.CreateTap))

    @pytest.mark.parametrize("kind", [actions.RaiseTap, actions.MakeNode, actions.AllowDevice])
    def test_step_of_a_tap_that_is_gone(self, kind: type[Action]) -> None:
        """Otherwise it would stay the container's reason, while no other tap can be made."""
        assert over(trouble_of(kind), TAP, host_at(TAP, eth1=actions.CreateTap))
        assert not over(trouble_of(kind), TAP, host_at(TAP, eth1=kind))

    def test_undo_of_which_something_is_left(self) -> None:
        assert not over(trouble_of(actions.RemoveNode), NOTHING, host_at(TAP, NOTHING, eth1=actions.RemoveNode))

    def test_undo_that_is_done(self) -> None:
        assert over(trouble_of(actions.RemoveNode), NOTHING, host_at(TAP, NOTHING))

    def test_takeover_lasts_while_it_is_wanted(self) -> None:
        host = host_at(SERVED, eth1=actions.TakeOver)
        assert not over(trouble_of(actions.TakeOver), SERVED, host)
        assert over(trouble_of(actions.TakeOver), TAP, host)

    def test_give_back_lasts_until_the_interface_is_given_back(self) -> None:
        host = host_at(SERVED, TAP, eth1=actions.GiveBack)
        assert not over(trouble_of(actions.GiveBack), TAP, host)
        assert over(trouble_of(actions.GiveBack, "eth0"), TAP, host)

    def test_card_lasts_until_the_guest_has_it_or_ends(self) -> None:
        host = host_at(SERVED)
        assert over(trouble_of(actions.PlugNic), SERVED, host)
        assert over(trouble_of(actions.PlugNic), replace(SERVED, guest=False), host_at(TAP))
        assert not over(trouble_of(actions.PlugNic), SERVED, host_at(TAP))

    def test_filter_lasts_while_the_guest_sleeps(self) -> None:
        asleep = replace(SERVED, guest=False, wakers=Wakers(("172.17.0.2",), keeps_state=False))
        host = host_at(SERVED, asleep)
        assert not over(trouble_of(actions.SetWakeFilter), asleep, host)
        assert over(trouble_of(actions.SetWakeFilter), SERVED, host)
        assert not over(trouble_of(actions.RemoveWakeFilter), SERVED, host)
        assert over(trouble_of(actions.RemoveWakeFilter), SERVED, host_at(SERVED))

    def test_interface_was_exchanged_or_is_gone(self) -> None:
        host = host_at(TAP, eth1=actions.CreateTap)
        host.interfaces["eth1"] = replace(ETH1, index=IfIndex(99))
        assert over(trouble_of(actions.CreateTap), TAP, host)
        assert over(trouble_of(actions.CreateTap), TAP, host_at())

    def test_step_for_the_container_as_a_whole(self) -> None:
        linked, unlinked = host_at(TAP), host_at()
        assert over(trouble_of(actions.LinkNetns, None), TAP, linked)
        assert not over(trouble_of(actions.LinkNetns, None), TAP, unlinked)
        assert not over(trouble_of(actions.UnlinkNetns, None), NOTHING, linked)
        assert over(trouble_of(actions.UnlinkNetns, None), NOTHING, unlinked)
        ready = replace(SERVED, ready=True)
        assert not over(trouble_of(actions.MarkReady, None), ready, linked)
        assert over(trouble_of(actions.MarkReady, None), SERVED, linked)
        done = replace(SERVED, exit_status=7)
        assert not over(trouble_of(actions.MarkExit, None), done, linked)
        assert over(trouble_of(actions.MarkExit, None), SERVED, linked)


class TestContainerError:
    def of(
        self, host: SimulatedHost, desired: Desired, *troubles: Trouble, serves_guest: bool = False
    ) -> Permanent | Transient | None:
        error = container_error(troubles, desired, host.seen(), host.record, serves_guest=serves_guest)
        assert error is None or isinstance(error, Permanent | Transient)
        return error

    def test_container_with_one_interface_is_in_order(self) -> None:
        host = host_at(TAP, eth1=actions.CreateTap)
        assert self.of(host, TAP, trouble_of(actions.CreateTap)) is None

    def test_container_without_an_interface_has_the_error_that_may_end_by_itself(self) -> None:
        host = host_at(TAP, eth0=actions.MakeNode, eth1=actions.CreateTap)
        lasting, brief = trouble_of(actions.MakeNode, "eth0"), trouble_of(actions.CreateTap, error=BRIEF)
        assert self.of(host, TAP, lasting, brief) is BRIEF
        assert self.of(host, TAP, lasting, trouble_of(actions.CreateTap)) is LASTING

    def test_container_without_its_symlink_is_not_in_order(self) -> None:
        host = SimulatedHost({"eth0": ETH0})
        host.faults = {Attempt(actions.LinkNetns): 0}
        host.converge(TAP)
        assert self.of(host, TAP, trouble_of(actions.LinkNetns, None)) is LASTING

    def test_guest_that_runs_is_in_order(self) -> None:
        host = host_at(SERVED, eth1=actions.MakeNode)
        troubles = trouble_of(actions.MakeNode), trouble_of(actions.LinkNetns, None)
        assert self.of(host, SERVED, *troubles, serves_guest=True) is None

    def test_guest_that_can_be_started_is_in_order(self) -> None:
        host = host_at(replace(SERVED, guest=False), eth1=actions.MakeNode)
        assert self.of(host, SERVED, trouble_of(actions.MakeNode), serves_guest=True) is None

    def test_guest_without_any_card_is_not_in_order(self) -> None:
        host = host_at(SERVED, eth0=actions.MakeNode, eth1=actions.TakeOver)
        troubles = trouble_of(actions.MakeNode, "eth0"), trouble_of(actions.TakeOver)
        assert self.of(host, SERVED, *troubles, serves_guest=True) is LASTING
        assert container_error(troubles, SERVED, Seen(None), None, serves_guest=True) is LASTING

    def test_what_is_left_of_an_undo_is_an_error(self) -> None:
        host = host_at(TAP, NOTHING, eth1=actions.RemoveNode)
        assert self.of(host, NOTHING, trouble_of(actions.RemoveNode)) is LASTING
        assert self.of(host, NOTHING, trouble_of(actions.CreateTap)) is None


def test_record_is_none_before_the_first_step() -> None:
    record: Record | None = None
    assert is_over(trouble_of(actions.CreateTap), TAP, host_at().seen(), record)
