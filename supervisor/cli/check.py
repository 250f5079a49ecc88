"""`vtapd check`: run the probes one after the other and print their findings.

A probe that fails, crashes or hangs is a finding too, and the others still run.
"""

import json
import os
import sys
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio
from rich.console import Console
from rich.text import Text

from supervisor.cli import check_probes
from supervisor.cli.output import terminal_width
from supervisor.config import DEFAULT_PATH, Config, load_config
from supervisor.core.report.findings import Finding, Level, can_attach
from supervisor.errors import ConfigError, VtapdError
from supervisor.observability.log_setup import silence_logs
from supervisor.text import escape_controls

_DEADLINE_S = 30.0
_LEVEL, _INDENT = 5, 22
"""The columns of a line: the level, what was probed, and from the indent on the text."""
_NARROWEST = 20
"""With less room for the text, the terminal wraps it."""
_STYLES: dict[Level, str] = {"ok": "green", "warn": "yellow", "FAIL": "bold red"}


@dataclass(frozen=True, slots=True)
class Probe:
    """A function of check_probes.py and how to report its failure."""

    what: str
    run: Callable[[check_probes.Machine], Awaitable[Finding]]
    level_if_failed: Level
    needs_root: bool = False
    """If set, the probe is skipped without the daemon's capabilities."""


PROBES = (
    Probe("kernel", check_probes.probe_kernel, "FAIL"),
    Probe("rights", check_probes.probe_rights, "FAIL"),
    Probe("docker", check_probes.probe_docker, "FAIL"),
    Probe("users", check_probes.probe_users, "warn"),
    Probe("macvtap", check_probes.probe_macvtap, "FAIL", needs_root=True),
    Probe("private link", check_probes.probe_private_link, "warn", needs_root=True),
    Probe("device rule", check_probes.probe_device_rule, "FAIL", needs_root=True),
    Probe("netns folder", check_probes.probe_netns_dir, "FAIL"),
    Probe("run-time folder", check_probes.probe_run_dir, "FAIL"),
    Probe("guest user", check_probes.probe_user, "FAIL"),
    Probe("guest uids", check_probes.probe_uids, "warn"),
    Probe("qemu", check_probes.probe_qemu, "warn"),
    Probe("guests' QEMU", check_probes.probe_old_qemus, "warn"),
    Probe("sandbox", check_probes.probe_sandbox, "warn", needs_root=True),
    Probe("shares", check_probes.probe_shares, "warn", needs_root=True),
    Probe("kvm", check_probes.probe_kvm, "warn", needs_root=True),
    Probe("vhost-net", check_probes.probe_vhost, "warn", needs_root=True),
    Probe("root disks", check_probes.probe_root_disks, "warn"),
    Probe("systemd", check_probes.probe_systemd, "warn"),
    Probe("daemon", check_probes.probe_daemon, "warn"),
    Probe("descriptors", check_probes.probe_descriptors, "warn"),
)


def check(config: Path | None, *, as_json: bool) -> bool:
    """Print the report. Return whether containers can be attached."""
    silence_logs()
    console = Console(highlight=False, soft_wrap=True)
    show = (lambda _: None) if as_json else (lambda finding: print_finding(console, finding))
    found = anyio.run(_check_all, config, show)
    possible = can_attach(found)
    if as_json:
        json.dump({"can_attach": possible, "findings": [asdict(finding) for finding in found]}, sys.stdout, indent=2)
        sys.stdout.write(os.linesep)
    return possible


def print_finding(console: Console, finding: Finding) -> None:
    """Print a finding and, below it, its remedy. Colours only on a terminal and without NO_COLOR."""
    for line in lines_of(finding, terminal_width()):
        console.print(line)


def lines_of(finding: Finding, width: int | None) -> Iterator[Text]:
    """Yield its lines. They are wrapped at the width of the terminal; None if there is none."""
    first, *rest = _wrapped(finding.detail, width)
    yield Text.assemble(
        (f"{finding.level:<{_LEVEL}}", _STYLES[finding.level]), f"{finding.what:<{_INDENT - _LEVEL - 1}} {first}"
    )
    yield from (Text(" " * _INDENT + line) for line in rest)
    if finding.remedy:
        yield from (Text(" " * _INDENT + line, style="dim") for line in _wrapped(finding.remedy, width))


def _wrapped(text: str, width: int | None) -> list[str]:
    """Return its lines without their indent. A word that is too long stays whole, so that it can be copied."""
    shown = escape_controls(text)
    if width is None or width - _INDENT < _NARROWEST:
        return [shown]
    return textwrap.wrap(shown, width - _INDENT, break_long_words=False, break_on_hyphens=False) or [""]


async def _check_all(path: Path | None, show: Callable[[Finding], None]) -> list[Finding]:
    config, first = _check_config(path)
    show(first)
    found = [first]
    machine = check_probes.Machine(config)
    for probe in PROBES:
        finding = await _run_probe(probe, machine)
        show(finding)
        found.append(finding)
    return found


def _check_config(path: Path | None) -> tuple[Config, Finding]:
    """Load the configuration. If it is wrong, the other probes use the defaults."""
    where = path or (DEFAULT_PATH if DEFAULT_PATH.exists() else None)
    try:
        config = load_config(path)
    except ConfigError as error:
        return Config(), Finding("config", "FAIL", error.message, error.remedy)
    return config, Finding("config", "ok", f"{where} is valid" if where else "no file: all defaults")


async def _run_probe(probe: Probe, machine: check_probes.Machine) -> Finding:
    if probe.needs_root and not machine.is_root_enough:
        return Finding(probe.what, "warn", "not tried: it needs root", "run it as root: sudo vtapd check")
    try:
        with anyio.fail_after(_DEADLINE_S):
            return await probe.run(machine)
    except VtapdError as error:
        return Finding(probe.what, probe.level_if_failed, error.message, error.remedy)
    except TimeoutError:
        return Finding(probe.what, probe.level_if_failed, f"no result within {_DEADLINE_S:g} s", "try again; see dmesg")
    except Exception as error:  # a bug in one probe must not hide the findings of the others
        detail = f"this probe crashed: {type(error).__name__}: {error}"
        return Finding(probe.what, probe.level_if_failed, detail, "report this line as a bug")
