"""What `vtapd inspect` says of a guest and a container that do not reach each other."""

from dataclasses import replace

from supervisor.core.attach.actions import Attempt, OpenPrivateLink
from supervisor.core.attach.state import Seen, SeenInterface
from supervisor.core.attach.troubles import Trouble
from supervisor.core.record import Record, TapRecord
from supervisor.core.report.link_notes import notes_on_links
from supervisor.core.report.status import ContainerStatus
from supervisor.errors import Permanent

from .examples import DEVICE, ETH0, ID, INCARNATION, NAME, TAP0

R = "169.254.118.1"
TAKEN = SeenInterface(replace(ETH0, addresses=(), routes=()), TAP0)
RECORD = Record(ID, NAME, INCARNATION, (TapRecord(0, "eth0", TAP0.name, DEVICE, ETH0),))
LINKED = ContainerStatus(id=ID, name=NAME, record=RECORD, seen=Seen(INCARNATION, interfaces=(TAKEN,)), link_address=R)


def notes(status: ContainerStatus) -> list[str]:
    return list(notes_on_links(status))


def test_guest_that_has_its_link_has_no_note() -> None:
    assert notes(LINKED) == []


def test_link_that_is_not_wanted_has_no_note() -> None:
    assert notes(replace(LINKED, link_address=None)) == []
    assert notes(replace(LINKED, seen=None)) == []
    assert notes(replace(LINKED, record=None)) == []
    kept = replace(RECORD, taps=(TapRecord(0, "eth0", TAP0.name, DEVICE),))
    assert notes(replace(LINKED, record=kept)) == []


def test_address_of_the_container_is_named() -> None:
    (note,) = notes(replace(LINKED, seen=Seen(INCARNATION, interfaces=(TAKEN,), other_ipv4=frozenset({R}))))
    assert note == (
        f"The guest and its container do not reach each other on eth0: the container has the address {R} itself."
    )


def test_refusal_of_the_kernel_is_named() -> None:
    trouble = Trouble(Attempt(OpenPrivateLink, "eth0"), Permanent("the kernel has no BPF"))
    other = Trouble(Attempt(OpenPrivateLink, "eth1"), Permanent("another one"))
    (note,) = notes(replace(LINKED, troubles=(other, trouble)))
    assert note.endswith("on eth0: the kernel has no BPF.")
    assert replace(LINKED, troubles=(trouble,)).reason is None
