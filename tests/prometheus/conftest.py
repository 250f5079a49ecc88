"""Prometheus and promtool of Debian."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import METRICS
from tests.harness.machine import Machine, built

from .server import TARGETS_OF_OTHERS, Prometheus

Promtool = Callable[..., "subprocess.CompletedProcess[str]"]

# The daemon under its other name counts as a second instance.
OTHER_INSTANCE = f"localhost:{METRICS.partition(':')[2]}"


@pytest.fixture(scope="session")
def commands() -> tuple[Path, Path]:
    """Return the paths of prometheus and promtool."""
    server, tool = built("prometheus")
    return server, tool


@pytest.fixture(scope="session")
def promtool(commands: tuple[Path, Path]) -> Promtool:
    """Return a function that runs promtool and fails with its output."""

    def run(*words: str | Path, text: str | None = None, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [commands[1], *words], input=text, cwd=cwd, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def prometheus(
    commands: tuple[Path, Path],
    machine: Machine,
    current_daemon: CurrentDaemon,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes the running daemon as two instances."""
    del current_daemon  # requested only so that it outlives this fixture
    others = tmp_path_factory.mktemp("targets")
    (others / "others.yml").write_text(f'- targets: ["{OTHER_INSTANCE}"]\n')
    with Prometheus(commands[0], machine, "scrape.yml", {TARGETS_OF_OTHERS: str(others)}, 9090) as server:
        yield server
