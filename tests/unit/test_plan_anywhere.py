"""From any state, even one that no vtapd could have made, a plan ends and reaches the desired state."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.attach.actions import Uplink
from supervisor.core.attach.entries import is_taken
from supervisor.core.attach.plan import is_attached
from supervisor.core.attach.state import Desired
from supervisor.core.container import Incarnation, Pid
from supervisor.core.kinds.kind import MANY_CARDS as MANY
from supervisor.core.links import DeviceNumber, IfIndex, Interface, Tap
from supervisor.core.record import Record, TapRecord

from .examples import ETH0, ETH1, ID, INCARNATION, NAME
from .simulated_host import FOREIGN_DEVICE, FOREIGN_SLOT, MAJOR, Guest, SimulatedHost

INTERFACES = (ETH0, ETH1)
MACS = st.sampled_from([each.mac for each in INTERFACES] + ["5e:00:00:00:ff:01", "5e:00:00:00:ff:02"])
DEVICES = st.builds(DeviceNumber, st.just(MAJOR), st.integers(1, 3))
DESIRED = st.sampled_from(
    [
        Desired(False),
        Desired(True),
        Desired(True, takeover=True, cards=MANY),
        Desired(True, guest=True, cards=MANY),
        Desired(True, guest=True, cards=MANY, mac=ETH0.mac),
        Desired(True, takeover=True, cards=MANY, guest=True),
        Desired(True, takeover=True, cards=MANY, guest=True, hotplug=True),
    ]
)


@st.composite
def hosts(draw: st.DrawFn) -> SimulatedHost:
    docker = {each.name: each for each in draw(st.lists(st.sampled_from(INTERFACES), unique_by=lambda i: i.name))}
    host = SimulatedHost(docker, interfaces={name: draw(states_of(each)) for name, each in docker.items()})
    host.taps = {name: draw(taps_of(each)) for name, each in host.interfaces.items() if draw(st.booleans())}
    host.rules = draw(st.sets(DEVICES)) | {FOREIGN_DEVICE}
    host.nodes = draw(st.dictionaries(st.integers(0, 2), DEVICES)) | {FOREIGN_SLOT: FOREIGN_DEVICE}
    host.netns_link = draw(st.sampled_from([None, INCARNATION.pid, Pid(17)]))
    host.record = draw(st.none() | records())
    cards = [Uplink(each, tap, slot) for slot, each in enumerate(INTERFACES) if (tap := host.taps.get(each.name))]
    runs: bool = draw(st.booleans())
    host.guest = Guest({card.slot: card for card in cards}) if cards and runs else None
    host.incarnation = draw(st.sampled_from([INCARNATION, INCARNATION, None]))
    return host


def states_of(interface: Interface) -> st.SearchStrategy[Interface]:
    return st.builds(
        lambda mac, addressed: replace(interface, mac=mac) if addressed else replace(interface, mac=mac, addresses=()),
        st.just(interface.mac) | st.just("5e:00:00:00:ff:0" + str(interface.index)),
        st.booleans(),
    )


def taps_of(interface: Interface) -> st.SearchStrategy[Tap]:
    name = st.sampled_from([f"vtap{interface.name}", f"vtapmine{interface.index}"])
    mac = MACS.filter(lambda mac: mac != interface.mac)
    return st.builds(
        lambda name, mac: Tap(
            name, IfIndex(40 + interface.index), mac, 1500, True, DeviceNumber(MAJOR, interface.index % 3 + 1)
        ),
        name,
        mac,
    )


@st.composite
def records(draw: st.DrawFn) -> Record:
    entries = []
    for slot, interface in enumerate((*INTERFACES, replace(ETH0, name="eth2"))):
        if draw(st.booleans()):
            original = draw(st.sampled_from([None, interface, replace(interface, addresses=(), routes=())]))
            device = draw(st.none() | DEVICES)
            entries.append(TapRecord(slot, interface.name, f"vtap{interface.name}", device, original))
    incarnation = draw(st.sampled_from([INCARNATION, Incarnation(Pid(17), 1)]))
    return Record(ID, NAME, incarnation, tuple(draw(st.permutations(entries))))


@given(hosts(), DESIRED)
def test_plan_reaches_the_desired_state_from_any_state(host: SimulatedHost, desired: Desired) -> None:
    host.converge(desired)
    seen, record = host.seen(), host.record
    if host.incarnation is None or not desired.attached:
        assert record is None
        assert host.incarnation is None or host.guest is None
        return
    assert is_attached(seen, record)
    assert record is not None
    taken = [entry for entry in record.taps if is_taken(entry, seen.of(entry.interface))]
    assert (taken != []) == (desired.takeover and record.taps != ())
    if not desired.takeover:
        assert all(entry.original is None for entry in record.taps)
    if record.taps or not desired.guest:
        assert seen.guest == desired.guest
    assert FOREIGN_DEVICE in host.rules
    assert host.nodes[FOREIGN_SLOT] == FOREIGN_DEVICE
