"""What systemd itself thinks of the unit, and what of it reaches a guest's QEMU, which inherits all."""

import re

from .service import UNIT, Inside, Service

FAIR = 5.0  # below it systemd says OK, from it on MEDIUM (analyze-security.c, badness_table)


def test_security_score(vtapd: Service) -> None:
    report = vtapd.machine.run("systemd-analyze", "security", "--no-pager", UNIT, check=False).out
    scored = re.search(r"Overall exposure level for \S+: ([\d.]+)", report)
    assert scored, report
    print(f"systemd-analyze security {UNIT}: {scored[1]}")
    assert float(scored[1]) < FAIR, report


def test_the_unit_has_no_mistakes(vtapd: Service) -> None:
    verified = vtapd.machine.run("systemd-analyze", "verify", UNIT, check=False)
    assert (verified.code, verified.err) == (0, "")


def test_a_guest_that_breaks_out_sees_no_other_processes(vtapd: Service, guest: Inside) -> None:
    root = f"/proc/{guest.qemu()}/root"
    seen = vtapd.machine.run("ls", root).lines
    assert "usr" in seen, "that it starts from a file system of its own"
    assert not {"proc", "sys", "run", "home", "root", "var"} & set(seen)
