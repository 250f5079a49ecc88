"""One machine a session, one daemon as long as tests want the same configuration, and after each test: nothing left."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.harness.containers import Containers
from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import Daemon, Tables
from tests.harness.docker_proxy import DockerProxy
from tests.harness.dockerd import View
from tests.harness.footprint import containers_that_leave_nothing
from tests.harness.groups import DurationWriter, GroupScheduling, sort_longest_first
from tests.harness.machine import Machine, sweep
from tests.harness.mounts import hide_netns_folder

HERE = Path(__file__).parent
WITH_A_MACHINE = (HERE / "integration", HERE / "prometheus", HERE / "security")
TEST_TIMEOUT_S = 90
COMMANDS = (
    "dockerd",
    "docker",
    "ip",
    "iptables",
    "nsenter",
    "unshare",
    "setpriv",
    "qemu-system-x86_64",
    "make",
    "gcc",
    "strace",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-durations", action="store_true", help="record how long each group of tests took")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--write-durations") and not _is_worker(config):
        config.pluginmanager.register(DurationWriter())
    config.addinivalue_line("markers", "integration: needs root, Docker and QEMU; makes a network of its own")
    config.addinivalue_line("markers", "both_cgroups: run on a machine with cgroup v1 and on one with v2")
    config.addinivalue_line("markers", "alone: nothing else may run on the machine; `make test` runs it by itself")
    config.addinivalue_line("markers", "only_v2: run on a machine with nothing but cgroup v2")
    config.addinivalue_line("markers", "remapped: run on a machine whose Docker has --userns-remap")
    config.addinivalue_line("markers", "vtapd_config(**tables): changes to the daemon's default configuration")


def _has_a_machine(path: Path) -> bool:
    return any(folder in path.parents for folder in WITH_A_MACHINE)


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")  # pytest-xdist sets it


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> GroupScheduling | None:
    return GroupScheduling(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    for item in items:  # before pytest selects by -m
        if _has_a_machine(item.path):
            item.add_marker(pytest.mark.integration)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(TEST_TIMEOUT_S))
    yield
    if _is_worker(config):
        sort_longest_first(items)  # after pytest has put tests of one machine together


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "machine" in metafunc.fixturenames and _has_a_machine(metafunc.definition.path):
        views = ["host"]
        if metafunc.definition.get_closest_marker("both_cgroups"):
            views = ["host", "v2"]
        elif metafunc.definition.get_closest_marker("only_v2"):
            views = ["v2"]
        elif metafunc.definition.get_closest_marker("remapped"):
            views = ["remapped"]
        metafunc.parametrize("machine", views, indirect=True, scope="session")


class Machines:
    """At most one machine for each view, from its first test to the end of the session."""

    def __init__(self) -> None:
        self._made: dict[View, Machine] = {}

    def get(self, view: View) -> Machine:
        if view not in self._made:
            self._made[view] = Machine(view).__enter__()
        return self._made[view]

    def close(self) -> None:
        with ExitStack() as stack:
            for machine in self._made.values():
                stack.callback(machine.close)


@pytest.fixture(scope="session")
def machines() -> Iterator[Machines]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces, dockerd, macvtap")
    if missing := [command for command in COMMANDS if shutil.which(command) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}; `make test` installs them")
    sweep()
    hide_netns_folder()
    machines = Machines()
    yield machines
    machines.close()


@pytest.fixture(scope="session")
def machine(request: pytest.FixtureRequest, machines: Machines) -> Iterator[Machine]:
    """By its parameter: `host` sees this machine's own cgroups, `v2` only version 2, `remapped` has --userns-remap."""
    machine = machines.get(request.param)
    yield machine
    shutil.rmtree(machine.run_dir, ignore_errors=True)


@pytest.fixture(scope="session")
def current_daemon(machine: Machine) -> Iterator[CurrentDaemon]:
    current = CurrentDaemon(machine)
    yield current
    current.stop()


@pytest.fixture
def containers(machine: Machine, current_daemon: CurrentDaemon) -> Iterator[Containers]:
    """The containers of one test; they are removed at its end, and the daemon must then leave nothing behind."""
    with containers_that_leave_nothing(machine, current_daemon) as made:
        yield made


@pytest.fixture(scope="module")
def relay(machine: Machine) -> Iterator[DockerProxy]:
    """Before the machine's Docker; `proxy` is what a test asks for."""
    relay = DockerProxy(machine.home / "relay.sock", machine.dockerd.socket)
    relay.open()
    yield relay
    relay.close()


@pytest.fixture
def proxy(relay: DockerProxy, containers: Containers) -> Iterator[DockerProxy]:
    """Between a daemon and Docker; honest again at the end of each test, before its containers are removed."""
    del containers
    yield relay
    relay.behave()


@pytest.fixture
def vtapd(request: pytest.FixtureRequest, current_daemon: CurrentDaemon, containers: Containers) -> Daemon:
    """A running daemon with the default configuration, changed by the test's or module's mark `vtapd_config`."""
    config: dict[str, Tables] = {}
    for marker in reversed(list(request.node.iter_markers("vtapd_config"))):
        config |= marker.kwargs
    del containers  # only asked for so that it is torn down while the daemon runs
    return current_daemon.get(config)  # type: ignore[arg-type]  # marks are untyped


@pytest.fixture
def no_vtapd(current_daemon: CurrentDaemon) -> None:
    """For tests that start daemons themselves, by `current_daemon.get`, or must not have one."""
    current_daemon.stop()
