"""The edge that starts QEMU, where no process gets started."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.core.model import User
from supervisor.edges.qemu.spawn import spawn
from supervisor.errors import Permanent, VtapdError

TOO_MANY_GROUPS = tuple(range(70000))  # linux/limits.h: NGROUPS_MAX is 65536


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def open_descriptors() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir()}


def error_of(folder: int, user: User) -> VtapdError:
    """Fail to start a program in a temporary thread, as the daemon does, and return the error."""
    errors: list[VtapdError] = []

    def run() -> None:
        try:
            spawn("/nowhere/qemu", ("qemu",), (), folder, user, {})
        except VtapdError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    (error,) = errors
    return error


@pytest.mark.parametrize("groups", [(), TOO_MANY_GROUPS])
def test_failed_start_leaves_no_descriptor_open(folder: int, groups: tuple[int, ...]) -> None:
    before = open_descriptors()
    error = error_of(folder, User("guest", os.getuid(), os.getgid(), groups))
    assert isinstance(error, Permanent)
    assert open_descriptors() == before
