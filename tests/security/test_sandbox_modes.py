"""Where no file system of QEMU's own can be had: said once, or insisted upon."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.containers import Containers
from tests.integration.current_daemon import CurrentDaemon
from tests.integration.daemon import Daemon
from tests.integration.machine import Machine

from .test_qemu_files import root_of


@pytest.fixture
def homeless_qemu(tmp_path: Path) -> Iterator[Path]:
    """A QEMU that is a shell script: it needs what its file system does not hold."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    program = tmp_path / "qemu-of-my-own"
    program.write_text('#!/bin/sh\nexec qemu-system-x86_64 "$@"\n')
    program.chmod(0o755)
    yield program
    program.unlink()


def test_auto_goes_on_without_and_says_so_once(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers, homeless_qemu: Path
) -> None:
    daemon = current_daemon.get({"guest": {"qemu": str(homeless_qemu)}})
    first, second = containers.serving_guest(), containers.serving_guest()
    for guest in (first, second):
        assert os.path.samestat(root_of(guest.qemu()).stat(), Path("/").stat()), "it has the host's files"
    (told,) = [line for line in daemon.log_lines() if line.get("event") == "sandbox_unavailable"]
    assert str(homeless_qemu) in str(told["error"])


def test_required_is_required(no_vtapd: None, machine: Machine, homeless_qemu: Path) -> None:
    daemon = Daemon(machine, {"guest": {"qemu": str(homeless_qemu), "sandbox": "required"}})
    status, printed = daemon.run_to_end()
    assert status == 1, printed
    assert "file system of its own" in printed
    assert "Traceback" not in printed


def test_required_where_it_can_be_had(no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers) -> None:
    current_daemon.get({"guest": {"sandbox": "required"}})
    assert not (root_of(containers.serving_guest().qemu()) / "proc").exists()


def test_off_is_off(no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers) -> None:
    daemon = current_daemon.get({"guest": {"sandbox": "off"}})
    assert os.path.samestat(root_of(containers.serving_guest().qemu()).stat(), Path("/").stat())
    assert not [line for line in daemon.log_lines() if line.get("event") == "sandbox_unavailable"]
