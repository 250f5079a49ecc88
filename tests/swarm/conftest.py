"""One swarm a session; each module says what runs on it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import COMMANDS
from tests.harness.machine import run_dir_of, sweep

from .swarm import Swarm

HERE = Path(__file__).parent
NODES = 3
TEST_TIMEOUT_S = 400


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT_S))


@pytest.fixture(scope="session")
def swarm() -> Iterator[Swarm]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces, dockerd, macvtap")
    if missing := [command for command in COMMANDS if shutil.which(command) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}; `make test-swarm` installs them")
    sweep()
    with Swarm(NODES) as swarm:
        yield swarm
    shutil.rmtree(run_dir_of(os.getpid()), ignore_errors=True)
