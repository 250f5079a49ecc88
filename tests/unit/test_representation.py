"""What `vtapd ps` and `vtapd inspect` answer, from a container's status."""

from dataclasses import replace

from supervisor.api.representation import details, summary
from supervisor.core.attach.state import Seen, SeenInterface
from supervisor.core.guest.pending import Pending
from supervisor.core.guest.spec import GuestSpec
from supervisor.core.record import Exit, GuestRecord, Record, TapRecord
from supervisor.core.report.schema import Details, Summary
from supervisor.core.report.status import ContainerStatus, GuestStatus
from tests.unit.examples import DEVICE, ETH0, ID, INCARNATION, NAME, PROCESS, TAP0

UNKNOWN = ContainerStatus(id=ID, name=NAME)
SEEN = Seen(
    INCARNATION,
    INCARNATION.pid,
    (SeenInterface(replace(ETH0, addresses=()), TAP0),),
    rules=frozenset({DEVICE}),
    nodes=((0, DEVICE),),
    nics=frozenset({0}),
)
RECORD = Record(
    ID,
    NAME,
    INCARNATION,
    (TapRecord(0, "eth0", TAP0.name, DEVICE, ETH0),),
    GuestRecord(process=PROCESS, restarts=1, exits=(Exit("guest-panic", at="2026-01-01T00:00:00Z"),)),
)
GUEST = GuestStatus(spec=GuestSpec(kernel="/k", memory_mib=64), kind="rumprun", because="its label says so")
RUNS = replace(
    UNKNOWN,
    incarnation=INCARNATION,
    attached=True,
    record=RECORD,
    seen=SEEN,
    cgroup="/docker/c0ffee",
    guest=replace(GUEST, qemu=PROCESS, booted=True),
)


def test_every_key_is_there_for_a_container_of_which_nothing_is_known() -> None:
    assert set(summary(UNKNOWN)) == set(Summary.__annotations__)
    answer = details(UNKNOWN, None)
    assert set(answer) == set(Details.__annotations__)
    assert (answer["state"], answer["pid"], answer["interfaces"], answer["guest"]) == ("attaching", None, [], None)


def test_guest_that_runs_in_one_line() -> None:
    line = summary(RUNS)
    assert (line["state"], line["guest"], line["restarts"], line["address"]) == (
        "running",
        "rumprun",
        1,
        "172.17.0.2/16",
    )
    assert line["uptime_s"] is not None
    assert line["last_exit"] is not None
    assert line["last_exit"]["reason"] == "guest-panic"


def test_interface_that_the_guest_took_over_is_shown_as_it_was() -> None:
    (eth0,) = details(RUNS, None)["interfaces"]
    assert (eth0["mac"], eth0["addresses"], eth0["gateway"]) == (ETH0.mac, ["172.17.0.2/16"], "172.17.0.1")
    assert (eth0["taken_over"], eth0["in_guest"]) == (True, True)
    assert eth0["tap"] == {
        "name": TAP0.name,
        "mac": TAP0.mac,
        "device": str(DEVICE),
        "node": "/dev/tap0",
        "rule": True,
    }


def test_pending_changes_of_a_guest_are_listed() -> None:
    guest = details(RUNS, (Pending("vtapd.memory", "64M", "128M"),))["guest"]
    assert guest is not None
    assert guest["pending"] == [{"what": "vtapd.memory", "running": "64M", "next": "128M"}]
    assert (guest["pid"], guest["started_at_boottime_s"]) == (PROCESS.pid, PROCESS.spawned_at_s)


def test_guest_that_waits_for_its_next_start_has_no_pid() -> None:
    waiting = replace(RUNS, guest=GUEST)
    assert (summary(waiting)["state"], summary(waiting)["uptime_s"]) == ("backoff", None)
    guest = details(waiting, None)["guest"]
    assert guest is not None
    assert (guest["state"], guest["pid"], guest["pending"]) == ("backoff", None, None)
