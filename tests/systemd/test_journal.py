"""What an administrator can filter by in the journal. Runs after the tests that give the daemon something to tell."""

from .service import UNIT, Inside, Service


def test_a_container_can_be_filtered_by(vtapd: Service, plain: Inside, neighbour: Inside) -> None:
    told = vtapd.journal(f"CONTAINER={plain.name}")
    assert {(entry["CONTAINER"], entry["SYSLOG_IDENTIFIER"]) for entry in told} == {(plain.name, "vtapd")}
    attached = next(entry for entry in told if entry["VTAPD_EVENT"] == "container_attached")
    assert attached["PRIORITY"] == "6"
    assert float(attached["VTAPD_AFTER_S"]) > 0
    assert attached["MESSAGE"] == f"container_attached after_s={attached['VTAPD_AFTER_S']} container={plain.name}"
    assert vtapd.journal(f"CONTAINER={neighbour.name}"), "and the other one's are found under its own name"


def test_an_event_can_be_filtered_by(vtapd: Service, guest: Inside) -> None:
    told = vtapd.journal("-u", UNIT, "VTAPD_EVENT=guest_started")
    assert guest.name in {entry["CONTAINER"] for entry in told}
    assert {entry["VTAPD_EVENT"] for entry in told} == {"guest_started"}
    assert all(int(entry["VTAPD_PID"]) > 0 for entry in told)


def test_nothing_to_complain_of(vtapd: Service, plain: Inside, guest: Inside) -> None:
    """A crash that a test asks for is no error of the service. Plain text would be a fallback, or a traceback."""
    errors = vtapd.journal(f"_SYSTEMD_UNIT={UNIT}", "-p", "err")
    assert [entry for entry in errors if entry["VTAPD_EVENT"] != "config_refused"] == [], "but for test_reload's"
    assert vtapd.journal(f"_SYSTEMD_UNIT={UNIT}", "_TRANSPORT=stdout") == []
    assert vtapd.journal(f"_SYSTEMD_UNIT={UNIT}", "_TRANSPORT=journal"), "where all of it is"
