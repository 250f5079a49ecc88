"""The state of each interface of a container, and its reason."""

from dataclasses import replace

import pytest

from supervisor.core.attach import actions
from supervisor.core.attach.actions import Action, Attempt
from supervisor.core.attach.state import Desired
from supervisor.core.attach.troubles import Trouble
from supervisor.core.guest.spec import GuestSpec
from supervisor.core.links import Address, Interface
from supervisor.core.report.interfaces import state_of_interface
from supervisor.core.report.status import ContainerStatus, GuestStatus
from supervisor.errors import Permanent, Transient

from .examples import ETH0, ETH1, ID, NAME
from .simulated_host import SimulatedHost

TAP, NOTHING = Desired(True), Desired(False)
SERVED = Desired(True, takeover=True, cards=9, guest=True, ip_versions=(4,))
ONLY_IPV6 = replace(ETH1, addresses=(Address(6, "2001:db8::5", 64),))


def host_at(desired: Desired, eth1: Interface = ETH1, fails: type[Action] | None = None) -> SimulatedHost:
    host = SimulatedHost({"eth0": ETH0, "eth1": eth1})
    host.faults = {Attempt(fails, "eth1"): 0} if fails else {}
    host.converge(desired)
    return host


def state(host: SimulatedHost, *troubles: Trouble, kind: str | None = None) -> tuple[str, str | None]:
    """Return the state of eth1."""
    guest = GuestStatus(spec=GuestSpec(kernel="/k", memory_mib=64), kind=kind, because="") if kind else None
    status = ContainerStatus(id=ID, name=NAME, record=host.record, guest=guest, troubles=troubles)
    seen = host.seen()
    each = seen.of("eth1")
    assert each is not None
    return state_of_interface(status, seen, each)


@pytest.mark.parametrize(
    ("kind", "error", "expected"),
    [
        (actions.CreateTap, Permanent("never"), ("failed", "never")),
        (actions.CreateTap, Transient("not now"), ("attaching", "not now")),
        (actions.GiveBack, Permanent("not back"), ("detaching", "not back")),
    ],
)
def test_trouble_is_the_reason(kind: type[Action], error: Permanent | Transient, expected: tuple[str, str]) -> None:
    other = Trouble(Attempt(actions.CreateTap, "eth0"), Permanent("another one's"))
    host = host_at(TAP, fails=actions.CreateTap)
    assert state(host, other, Trouble(Attempt(kind, "eth1"), error)) == expected


def test_interface_without_trouble() -> None:
    assert state(host_at(TAP)) == ("attached", None)
    assert state(host_at(TAP, fails=actions.MakeNode)) == ("attaching", None)
    assert state(host_at(NOTHING)) == ("detached", None)


def test_interface_of_a_guest() -> None:
    assert state(host_at(SERVED), kind="rumprun") == ("attached", None)
    assert state(host_at(replace(SERVED, guest=False)), kind="rumprun") == ("attached", None)


def test_interface_on_which_the_guest_has_no_card() -> None:
    of, why = state(host_at(SERVED, ONLY_IPV6), kind="hermit")
    assert (of, why and "no IPv4 address" in why) == ("attached", True)
    assert "no more" in (state(host_at(replace(SERVED, cards=1)), kind="hermit")[1] or "")
    later = SimulatedHost({"eth0": ETH0})
    later.converge(SERVED)
    later.docker["eth1"] = later.interfaces["eth1"] = ETH1
    later.converge(SERVED)
    assert state(later, kind="linux") == ("attached", "the guest gets a card on it at its next start")
