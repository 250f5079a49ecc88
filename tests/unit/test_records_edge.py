"""The files about containers in the run-time folder."""

from pathlib import Path

import pytest

from supervisor.config import Config
from supervisor.core.container import ContainerId
from supervisor.core.guest.labels import parse_labels
from supervisor.core.record import Exit, GuestRecord, Record
from supervisor.core.report.ended import EndedContainer, ended_container
from supervisor.core.report.status import ContainerStatus, GuestStatus
from supervisor.edges.records import Records
from tests.unit.examples import ID, INCARNATION, NAME, PROCESS, labelled

AT = "2026-01-02T03:04:05.678+00:00"


@pytest.fixture
def ended() -> EndedContainer:
    """A container with all kinds of labels, and values from the configuration for those that it has not."""
    asked = labelled(
        kernel="/k", address="10.0.0.2/8,10.0.0.1", ready="http:80/", alive="ping,every=1s", restart="always"
    )
    spec = parse_labels(asked, Config().policy)
    assert spec is not None
    record = GuestRecord(process=PROCESS, exits=(Exit("guest-exit", 7),), exit_counts={"guest-exit": 1})
    status = ContainerStatus(
        id=ID,
        name=NAME,
        record=Record(ID, NAME, INCARNATION, guest=record),
        guest=GuestStatus(spec=spec, kind="linux", because="its label says so"),
    )
    kept = ended_container(status, INCARNATION, AT)
    assert kept is not None
    return kept


def test_ended_container_is_read_as_it_was_written(tmp_path: Path, ended: EndedContainer) -> None:
    files = Records(tmp_path)
    files.write_ended(ended)
    assert files.read_ended() == [ended]
    assert files.list() == [], "it is no record"
    files.delete_ended(ID)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("broken", [b"", b"{}", b"\xff\xfe", b"[" * 5000])
def test_file_that_cannot_be_used_is_deleted(tmp_path: Path, ended: EndedContainer, broken: bytes) -> None:
    files = Records(tmp_path)
    files.write_ended(ended)
    (tmp_path / "of-another-container.ended").write_bytes((tmp_path / f"{ID}.ended").read_bytes())
    (tmp_path / f"{ContainerId('1' * 64)}.ended").write_bytes(broken)
    assert files.read_ended() == [ended]
    assert [each.name for each in tmp_path.iterdir()] == [f"{ID}.ended"]
