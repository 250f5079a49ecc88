"""systemd's own score of the unit, and the unit's settings that a guest's QEMU inherits."""

import re

from .service import UNIT, Inside, Service

REACHED = 5.1  # the unit says why the remaining settings are left out


def test_security_score(vtapd: Service) -> None:
    report = vtapd.machine.run("systemd-analyze", "security", "--no-pager", UNIT, check=False).out
    scored = re.search(r"Overall exposure level for \S+: ([\d.]+)", report)
    assert scored, report
    print(f"systemd-analyze security {UNIT}: {scored[1]}")
    assert float(scored[1]) <= REACHED, report


def test_unit_refuses_nothing_that_the_daemon_needs(vtapd: Service, guest: Inside) -> None:
    """A call that the system call filter refuses fails silently: guests lose their sandbox, or the daemon events."""
    logged = {entry["VTAPD_EVENT"]: entry for entry in vtapd.journal(f"_SYSTEMD_UNIT={UNIT}") if "VTAPD_EVENT" in entry}
    assert "sandbox_built" in logged
    assert "sandbox_unavailable" not in logged
    rule = vtapd.machine.run("systemctl", "show", "-p", "DeviceAllow", UNIT).out
    assert "char-macvtap rwm" in rule
    complaints = [entry["MESSAGE"] for entry in vtapd.journal("_PID=1", f"UNIT={UNIT}")]
    assert not [line for line in complaints if "macvtap" in line], "systemd did not know the device number at the start"


def test_unit_passes_systemd_analyze_verify(vtapd: Service) -> None:
    verified = vtapd.machine.run("systemd-analyze", "verify", UNIT, check=False)
    assert (verified.code, verified.err) == (0, "")


def test_guest_that_breaks_out_sees_no_other_processes(vtapd: Service, guest: Inside) -> None:
    root = f"/proc/{guest.qemu()}/root"
    seen = vtapd.machine.run("ls", root).lines
    assert "usr" in seen, "QEMU's file system has no /usr"
    assert not {"sys", "run", "home", "root", "var"} & set(seen)
    assert vtapd.machine.run("ls", f"{root}/proc").lines == []


def test_unit_lets_guests_share_folders(vtapd: Service) -> None:
    """Its filter of system calls also holds for the mounts of shares, and for virtiofsd."""
    there = vtapd.machine.run("ls", "/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd", check=False).lines
    kernels = {"by-9p": "/hello-unikraft.bin"} | ({"by-virtiofs": "/hello-osv.bin"} if there else {})
    for name, kernel in kernels.items():
        labels = (f"vtapd.kernel={kernel}", "vtapd.accel=tcg", "vtapd.share.0=/data")
        asked = (word for label in labels for word in ("--label", label))
        container = Inside.run(vtapd.machine, name, "-v", "/data", *asked)
        container.await_page()
        container.remove()
