"""Journal fields that an administrator can filter by. Runs after the tests that make the daemon log something."""

from .service import UNIT, Inside, Service


def test_journal_can_be_filtered_by_container(vtapd: Service, plain: Inside, neighbour: Inside) -> None:
    entries = vtapd.journal(f"CONTAINER={plain.name}")
    assert {(entry["CONTAINER"], entry["SYSLOG_IDENTIFIER"]) for entry in entries} == {(plain.name, "vtapd")}
    attached = next(entry for entry in entries if entry["VTAPD_EVENT"] == "container_attached")
    assert attached["PRIORITY"] == "6"
    assert float(attached["VTAPD_AFTER_S"]) > 0
    assert attached["MESSAGE"] == f"container_attached after_s={attached['VTAPD_AFTER_S']} container={plain.name}"
    assert vtapd.journal(f"CONTAINER={neighbour.name}"), "the other container has no entries"


def test_journal_can_be_filtered_by_event(vtapd: Service, guest: Inside) -> None:
    entries = vtapd.journal("-u", UNIT, "VTAPD_EVENT=guest_started")
    assert guest.name in {entry["CONTAINER"] for entry in entries}
    assert {entry["VTAPD_EVENT"] for entry in entries} == {"guest_started"}
    assert all(int(entry["VTAPD_PID"]) > 0 for entry in entries)


def test_journal_has_no_errors_and_no_plain_text(vtapd: Service, plain: Inside, guest: Inside) -> None:
    """A crash that a test causes is no error of the service. Plain text would be a fallback, or a traceback."""
    errors = vtapd.journal(f"_SYSTEMD_UNIT={UNIT}", "-p", "err")
    assert [entry for entry in errors if entry["VTAPD_EVENT"] != "config_refused"] == [], (
        "errors other than those of test_service"
    )
    assert vtapd.journal(f"_SYSTEMD_UNIT={UNIT}", "_TRANSPORT=stdout") == []
    assert vtapd.journal(f"_SYSTEMD_UNIT={UNIT}", "_TRANSPORT=journal"), "the journal has no entries"
