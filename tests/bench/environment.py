"""Where measurements run: the integration tests' Docker in a separate network, and a daemon for each measurement.

The daemon's run-time folder is on a tmpfs, as /run is on real machines; on a disk each record would wait for its fsync.
The daemon has the priority that its unit gives it.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tests.harness.daemon import Daemon, Tables, merged
from tests.harness.machine import Machine, sweep
from tests.harness.observe import NETNS_FOLDER
from tests.harness.waiting import eventually

RUN_DIR = Path(f"/dev/shm/vtapd-bench-{os.getpid()}")
LOG_POLL_S = 0.02
DEADLINE_S = 30.0
AS_THE_UNIT = ("chrt", "--reset-on-fork", "--other", "0", "nice", "-n", "-10")
"""Nice= and CPUScheduling…= in systemd/vtapd.service."""

Line = dict[str, object]


@contextmanager
def bench_machine() -> Iterator[Machine]:
    """Build and import images before anything is timed, and leave nothing behind in any case."""
    sweep()
    NETNS_FOLDER.mkdir(parents=True, exist_ok=True)
    machine = Machine()
    machine.dockerd.env = {}  # Docker as its users have it: it is part of what is measured, and of every rival
    try:
        with machine:
            assert machine.image
            yield machine
    finally:
        remove_links(machine)
        shutil.rmtree(RUN_DIR, ignore_errors=True)


def remove_links(machine: Machine) -> None:
    """Remove the links to network namespaces that rivals made by hand, which no daemon removes."""
    for container_id in machine.container_ids:
        (NETNS_FOLDER / container_id[:12]).unlink(missing_ok=True)


@contextmanager
def running_daemon(machine: Machine, config: Tables) -> Iterator[Daemon]:
    """Run a daemon with defaults but for `config`. It leaves its containers attached, for the next one to adopt."""
    ours: Tables = {"attach": {"run_dir": str(RUN_DIR)}, "log": {"level": "info"}}
    daemon = Daemon(machine, merged(ours, config), AS_THE_UNIT).start()
    try:
        yield daemon
        assert not daemon.bugs(), "\n".join(daemon.bugs())
    finally:
        if daemon.is_running():
            daemon.stop()


def await_line(daemon: Daemon, event: str, container: str, number: int = 1) -> Line:
    """Return the `number`th log line with this event of this container."""

    def found() -> Line:
        lines = [line for line in daemon.log_lines() if line.get("event") == event]
        return [line for line in lines if line.get("container") == container][number - 1]

    try:
        return eventually(found, f"the daemon logs {event} of {container}", DEADLINE_S, LOG_POLL_S)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{daemon.log_tail()}") from None


def await_attached(daemon: Daemon, count: int) -> None:
    eventually(lambda: daemon.metrics().value("vtapd_attachments") == count, f"{count} are attached", DEADLINE_S)


def number_in(line: Line, key: str) -> float:
    value = line[key]
    assert isinstance(value, int | float), f"{key} is no number in {line}"
    return float(value)


def logged_at_s(line: Line) -> float:
    """Return when a line was written, in seconds since the epoch."""
    return datetime.fromisoformat(str(line["timestamp"])).timestamp()
