"""`vtapd check` on machines that have everything, and on machines that lack one thing."""

import json
import os
import pty
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # the report's JSON; it does not leave this file

import pytest

from tests.harness.daemon import COMMAND, Daemon, Tables, default_config, environment, format_toml, merged
from tests.harness.machine import Machine

CHECK_S = 60.0
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Report:
    status: int
    can_attach: bool
    found: dict[str, dict[str, str]]

    def of(self, what: str) -> tuple[str, str]:
        return self.found[what]["level"], self.found[what]["detail"]


def check(machine: Machine, *words: str, tables: Tables | None = None, before: Sequence[str] = ()) -> Report:
    """Run `vtapd check` on a machine with its network and cgroups; assert that the probes leave nothing behind."""
    file = machine.home / "check.toml"
    file.write_text(format_toml(merged(default_config(machine), tables or {})))
    asked = ["--config", str(file)] if not words else list(words)
    before_it = traces(machine)
    argv = ["env", f"PYTHONPATH={environment()['PYTHONPATH']}", *before, *COMMAND, "check", "--json", *asked]
    ended = machine.run(*argv, timeout_s=CHECK_S, check=False)
    assert "Traceback" not in ended.stdout + ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    assert traces(machine) == before_it
    assert not [each for each in report["findings"] if "this probe crashed" in each["detail"]], ended.stdout
    for each in report["findings"]:
        assert each["level"] == "ok" or each["remedy"], each
    return Report(ended.returncode, report["can_attach"], {each["what"]: each for each in report["findings"]})


def traces(machine: Machine) -> list[str]:
    """Return what a probe might leave: links, cgroups, folders."""
    links = machine.run("ip", "-o", "link").stdout.count("vtapcheck")
    cgroups = machine.run("find", str(CGROUPS), "-maxdepth", "2", "-name", "vtapd-scratch-*").stdout.split()
    return [str(links), *cgroups, *map(str, Path("/tmp").glob("vtapd-check-*"))]


@pytest.mark.both_cgroups
def test_complete_machine_passes(machine: Machine, no_vtapd: None) -> None:
    report = check(machine)
    version = machine.docker("info", "-f", "{{.CgroupVersion}}")
    assert (report.status, report.can_attach) == (0, True)
    assert report.of("docker")[0] == "ok"
    assert f"cgroup v{version}" in report.of("docker")[1]
    assert report.of("device rule") == (
        "ok",
        (
            f"cgroup v{version}: one device was allowed "
            f"{'through devices.allow' if version == '1' else 'by a BPF program'}, and denied again"
        ),
    )
    for what in ("config", "kernel", "rights", "users", "macvtap", "netns folder", "guest uids", "qemu", "sandbox"):
        assert report.of(what)[0] == "ok", report.found[what]
    assert report.of("daemon") == ("warn", "none runs")


@pytest.mark.remapped
def test_user_namespaces_are_reported(machine: Machine, no_vtapd: None) -> None:
    report = check(machine)
    assert (report.status, report.of("users")[0]) == (0, "warn")
    assert "--userns=host" in report.found["users"]["remedy"]


def test_running_daemon_is_reported(machine: Machine, vtapd: Daemon) -> None:
    report = check(machine)
    assert report.of("daemon")[0] == "ok"
    assert "the daemon" in report.of("descriptors")[1]


def test_missing_docker_fails(machine: Machine) -> None:
    report = check(machine, tables={"docker": {"host": "unix:///nonexistent/docker.sock", "timeout": "2s"}})
    assert (report.status, report.can_attach, report.of("docker")[0]) == (1, False, "FAIL")
    assert report.of("macvtap")[0] == report.of("device rule")[0] == "ok", "the other checks were skipped"


def test_missing_qemu_is_a_warning(machine: Machine) -> None:
    report = check(machine, tables={"guest": {"qemu": "/nonexistent/qemu"}})
    assert (report.status, report.of("qemu")[0]) == (0, "warn"), "attaching does not need QEMU"
    assert "/nonexistent/qemu" in report.of("qemu")[1]


def test_qemu_without_seccomp_is_a_warning(machine: Machine, tmp_path: Path) -> None:
    """A QEMU that was built without seccomp (QEMU's vl.c) has no option group 'sandbox'."""
    fake = tmp_path / "qemu-system-x86_64"
    fake.write_text(
        "#!/bin/sh\n"
        '[ "$1" != -sandbox ] || { echo "There is no option group" >&2; exit 1; }\n'
        f'exec {shutil.which("qemu-system-x86_64")} "$@"\n'
    )
    fake.chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents):
        if Path(tempfile.gettempdir()) in folder.parents:
            folder.chmod(0o755)
    report = check(machine, tables={"guest": {"qemu": str(fake)}})
    assert report.of("qemu")[0] == "warn"
    assert "no seccomp" in report.of("qemu")[1]


def test_wrong_configuration_fails(machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text('[guest]\nmemroy = "64M"\n')
    report = check(machine, "--config", str(file))
    assert (report.status, report.of("config")[0]) == (1, "FAIL")
    assert "memroy" in report.of("config")[1]


def test_guests_as_root_fail(machine: Machine) -> None:
    report = check(machine, tables={"guest": {"user": "root"}})
    assert (report.status, report.of("guest user")[0]) == (1, "FAIL")


def test_missing_rights_are_named_and_probes_skipped(machine: Machine) -> None:
    """An ordinary user sees which rights are missing; checks that need them are not tried."""
    report = check(machine, before=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"))
    assert (report.status, report.of("rights")[0]) == (1, "FAIL")
    for what in ("CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_MKNOD"):
        assert what in report.of("rights")[1]
    for what in ("macvtap", "device rule", "sandbox"):
        assert report.of(what) == ("warn", "not tried: it needs root")
    assert report.of("qemu")[0] == "ok", "QEMU's version needs no rights"


def test_missing_net_admin_fails(machine: Machine) -> None:
    """Without CAP_NET_ADMIN over a new network namespace the probe is refused, and the finding says so."""
    report = check(machine, before=("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"))
    assert report.status == 1
    assert "CAP_NET_ADMIN" in report.of("rights")[1]


def printed(machine: Machine, **more: str) -> str:
    """Return what `vtapd check` prints on a terminal."""
    file = machine.home / "check.toml"
    file.write_text(format_toml(default_config(machine)))
    ours, theirs = pty.openpty()
    try:
        argv = [*COMMAND, "check", "--config", str(file)]
        subprocess.run(argv, stdout=theirs, env=environment(TERM="xterm", **more), timeout=CHECK_S, check=False)
    finally:
        os.close(theirs)
    text = b""
    try:
        while piece := os.read(ours, 65536):
            text += piece
    except OSError:  # EIO: the other end is closed
        pass
    finally:
        os.close(ours)
    return text.decode()


def test_colours_are_only_for_terminals(machine: Machine) -> None:
    assert "\x1b[32mok" in printed(machine)
    plain = printed(machine, NO_COLOR="1")
    assert "\x1b[3" not in plain
    assert re.search(r"(?m)^ok   kernel +Linux ", plain)
