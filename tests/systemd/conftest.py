"""One booted machine a session, with vtapd's package installed in it; tests share its containers."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .disk import build_disk
from .machine import Disks, SystemdMachine
from .root import build_root
from .service import BACK_AFTER_REBOOT, UNIT, Inside, Service, prepare

HERE = Path(__file__).parent
COMMANDS = ("mmdebstrap", "mke2fs", "qemu-system-x86_64", "make", "gcc", "chroot", "dpkg-deb")
TEST_TIMEOUT_S = 600
LAST = ("test_journal.py", "test_reboot.py", "test_package.py", "test_uninstall.py")
PORT = 8080  # of the machine, published by Docker; the outside reaches it as machine.published


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # The fixtures, which build and boot the machine, have their own deadlines.
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT_S, func_only=True))
    # These run after everything that is logged has happened, and the last ones remove the package.
    items.sort(key=lambda item: LAST.index(item.path.name) if item.path.name in LAST else -1)


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdMachine]:
    if os.geteuid() != 0:
        pytest.skip("needs root: mmdebstrap and chroot")
    if missing := [command for command in COMMANDS if shutil.which(command) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}; `make test-systemd` installs them")
    root, home = build_root(), tmp_path_factory.mktemp("machine")
    added = home / "added.img"
    build_disk(root, added)
    disks = Disks(root.base.kernel, root.base.initrd, root.base.disk, added)
    with SystemdMachine(disks, home) as machine:
        prepare(machine)
        yield machine


@pytest.fixture(scope="session")
def vtapd(machine: SystemdMachine) -> Service:
    """The service as its package has left it: enabled and started."""
    service = Service(machine)
    if service.show("ActiveState") != "active":
        pytest.fail(machine.run("journalctl", "--no-pager", "-u", UNIT, "-n", "30").out)
    return service


@pytest.fixture(scope="session")
def plain(vtapd: Service) -> Inside:
    """A container that requests no guest."""
    return Inside.run(vtapd.machine, "plain").await_attached()


@pytest.fixture(scope="session")
def neighbour(vtapd: Service) -> Inside:
    return Inside.run(vtapd.machine, "neighbour").await_attached()


@pytest.fixture(scope="session")
def guest(vtapd: Service) -> Inside:
    """A container with a guest that answers, on the container's address and the machine's port, also after a reboot."""
    labels = ("vtapd.kernel=/hello.bin", "vtapd.accel=tcg", "vtapd.ready=ping")
    asked = (*(word for label in labels for word in ("--label", label)), "-p", f"{PORT}:80", *BACK_AFTER_REBOOT)
    container = Inside.run(vtapd.machine, "guest", *asked)
    container.await_page()
    return container
