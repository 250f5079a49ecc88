"""What systemd itself thinks of the unit, and what of it reaches a guest's QEMU, which inherits all."""

import re

from .service import UNIT, Inside, Service

REACHED = 4.8  # what each of the rest costs, and why it is left out, is in the unit


def test_security_score(vtapd: Service) -> None:
    report = vtapd.machine.run("systemd-analyze", "security", "--no-pager", UNIT, check=False).out
    scored = re.search(r"Overall exposure level for \S+: ([\d.]+)", report)
    assert scored, report
    print(f"systemd-analyze security {UNIT}: {scored[1]}")
    assert float(scored[1]) <= REACHED, report


def test_nothing_is_refused(vtapd: Service, guest: Inside) -> None:
    """A call that the filter refuses fails quietly: here, where guests lose their walls or the daemon its eyes."""
    told = {entry["VTAPD_EVENT"]: entry for entry in vtapd.journal(f"_SYSTEMD_UNIT={UNIT}") if "VTAPD_EVENT" in entry}
    assert "sandbox_built" in told
    assert "sandbox_unavailable" not in told
    rule = vtapd.machine.run("systemctl", "show", "-p", "DeviceAllow", UNIT).out
    assert "char-macvtap rwm" in rule
    complaints = [entry["MESSAGE"] for entry in vtapd.journal("_PID=1", f"UNIT={UNIT}")]
    assert not [line for line in complaints if "macvtap" in line], "systemd knew its number when the service started"


def test_the_unit_has_no_mistakes(vtapd: Service) -> None:
    verified = vtapd.machine.run("systemd-analyze", "verify", UNIT, check=False)
    assert (verified.code, verified.err) == (0, "")


def test_a_guest_that_breaks_out_sees_no_other_processes(vtapd: Service, guest: Inside) -> None:
    root = f"/proc/{guest.qemu()}/root"
    seen = vtapd.machine.run("ls", root).lines
    assert "usr" in seen, "that it starts from a file system of its own"
    assert not {"proc", "sys", "run", "home", "root", "var"} & set(seen)
