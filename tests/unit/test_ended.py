"""What is kept of a container that has ended."""

from dataclasses import replace

import pytest

from supervisor.api.representation import details
from supervisor.core.attach.state import Seen, SeenInterface
from supervisor.core.guest.spec import Environment, GuestSpec
from supervisor.core.record import Exit, GuestRecord, Record, TapRecord
from supervisor.core.report.ended import EndedContainer, ended_container
from supervisor.core.report.status import ContainerStatus, GuestStatus
from supervisor.errors import Rejected
from tests.unit.examples import ETH0, ETH1, ID, INCARNATION, NAME

AT = "2026-01-02T03:04:05.678+00:00"
SPEC = GuestSpec(kernel="/k", memory_mib=64, env=Environment((("PASSWORD", "secret"),)))
GUEST = GuestStatus(spec=SPEC, kind="rumprun", because="its label says so", console_dropped_bytes=5)
PLAIN = ContainerStatus(id=ID, name=NAME, incarnation=INCARNATION, attached=True)


def kept(status: ContainerStatus) -> EndedContainer:
    ended = ended_container(status, INCARNATION, AT)
    assert ended is not None
    return ended


def with_record(guest: GuestRecord) -> ContainerStatus:
    return replace(PLAIN, guest=GUEST, record=Record(ID, NAME, INCARNATION, guest=guest))


def test_plain_container_is_kept_as_exited() -> None:
    status = kept(PLAIN).status
    assert (status.name, status.state, status.guest, status.incarnation) == (NAME, "exited", None, None)
    assert status.reason == "the container has ended; start it again: docker start"
    assert status.end is not None
    assert status.end.at == AT


def test_guest_is_kept_with_its_history_and_without_its_environment() -> None:
    record = GuestRecord(restarts=3, exits=(Exit("guest-exit", 7),), console_dropped_bytes=5)
    status = kept(with_record(record)).status
    assert status.guest_record == record
    assert status.guest == replace(GUEST, spec=replace(SPEC, env=Environment()))
    assert status.state == "exited"


def test_interfaces_are_kept_as_they_were_before_a_guest_had_their_addresses() -> None:
    taken = replace(ETH0, mac="7e:00:00:00:00:01", addresses=(), routes=())
    record = Record(ID, NAME, INCARNATION, (TapRecord(0, "eth0", "vtap110002", original=ETH0),))
    seen = Seen(INCARNATION, interfaces=(SeenInterface(taken), SeenInterface(ETH1)))
    for status in (replace(PLAIN, record=record, seen=seen), replace(PLAIN, record=record)):
        shown = details(kept(status).status)["interfaces"][0]
        assert (shown["mac"], shown["addresses"], shown["gateway"]) == (ETH0.mac, ["172.17.0.2/16"], "172.17.0.1")
        assert (shown["state"], shown["taken_over"], shown["tap"]) == ("detached", False, None)
    assert [each["name"] for each in details(kept(replace(PLAIN, seen=seen)).status)["interfaces"]] == ["eth0", "eth1"]
    assert details(kept(PLAIN).status)["interfaces"] == []


@pytest.mark.parametrize(
    ("status", "state", "reason"),
    [
        (replace(PLAIN, error=Rejected("no such kernel")), "rejected", "no such kernel"),
        (with_record(GuestRecord(done="failed", failure="no QEMU")), "failed", "no QEMU"),
    ],
)
def test_reason_of_a_failure_is_kept(status: ContainerStatus, state: str, reason: str) -> None:
    assert (kept(status).status.state, kept(status).status.reason) == (state, reason)


def test_container_that_was_left_alone_is_not_kept() -> None:
    assert ended_container(replace(PLAIN, ignored_reason="it uses the host's network"), INCARNATION, AT) is None
