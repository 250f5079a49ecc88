"""What systemd itself thinks of the unit."""

import re

from .service import UNIT, Service

WORST = 7.0


def test_security_score(vtapd: Service) -> None:
    report = vtapd.machine.run("systemd-analyze", "security", "--no-pager", UNIT, check=False).out
    scored = re.search(r"Overall exposure level for \S+: ([\d.]+)", report)
    assert scored, report
    print(f"systemd-analyze security {UNIT}: {scored[1]}")
    assert float(scored[1]) <= WORST, report


def test_the_unit_has_no_mistakes(vtapd: Service) -> None:
    verified = vtapd.machine.run("systemd-analyze", "verify", UNIT, check=False)
    assert (verified.code, verified.err) == (0, "")
