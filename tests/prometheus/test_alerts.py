"""Every alert of config/prometheus/alerts.yml: its rule in promtool's tests, and fired by its cause."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.containers import Containers
from tests.harness.daemon import METRICS, Daemon
from tests.harness.machine import Machine
from tests.harness.observe import NETNS_FOLDER
from tests.harness.waiting import eventually
from tests.integration.faults.test_interference import deny_device
from tests.integration.guest.test_unread_log import parent_of, print_lines, stopped

from .conftest import Promtool
from .server import CONFIG, Prometheus

FIRES_S = 60.0
ALERTS = set(re.findall(r"alert: (\w+)", (CONFIG / "alerts.yml").read_text()))

pytestmark = pytest.mark.vtapd_config(attach={"resync": "300ms"}, restart={"max": "200ms"})


def test_rules_pass_promtool(promtool: Promtool) -> None:
    promtool("check", "rules", CONFIG / "alerts.yml")
    promtool("test", "rules", Path(__file__).with_name("alerts_test.yml"))


@pytest.mark.parametrize("name", ["scrape.yml", "scrape-swarm.yml"])
def test_scrape_configurations_pass_promtool(promtool: Promtool, name: str) -> None:
    promtool("check", "config", CONFIG / name)


def await_alert(
    prometheus: Prometheus, alert: str, meanwhile: Callable[[], object] = lambda: None, **labels: str
) -> None:
    """Wait until the alert fires, calling `meanwhile` repeatedly. Its annotations are complete and name its labels."""

    def fired() -> tuple[dict[str, str], dict[str, str]]:
        meanwhile()
        return prometheus.firing(alert, instance=METRICS, **labels)[0]

    _, annotations = eventually(fired, f"{alert} fires", FIRES_S)
    assert set(annotations) == {"summary", "description"}
    for text in annotations.values():
        assert not re.search(r"[{}]|<no value>", text), "templates that Prometheus could not fill in"
    assert all(label in annotations["summary"] for label in (METRICS, *labels.values()))


def test_guest_crash_loop_fires(vtapd: Daemon, prometheus: Prometheus, containers: Containers) -> None:
    guest = containers.serving_guest()
    await_alert(prometheus, "VtapdGuestCrashLoop", lambda: guest.trigger("/crash"), container=guest.name)


def test_guest_down_fires(vtapd: Daemon, prometheus: Prometheus, containers: Containers) -> None:
    guest = containers.serving_guest(restart="no", on_exit="keep")
    guest.trigger("/crash")
    await_alert(prometheus, "VtapdGuestDown", container=guest.name)


def test_attach_failing_fires(vtapd: Daemon, prometheus: Prometheus, containers: Containers) -> None:
    """The symlink's name is taken: the attach fails once, permanently, and its series begins with that failure."""
    container = containers.create()
    taken = NETNS_FOLDER / container.id12
    taken.touch()
    try:
        container.start()
        await_alert(prometheus, "VtapdAttachFailing", step="netns")
    finally:
        taken.unlink()


def test_device_rule_fought_over_fires(vtapd: Daemon, prometheus: Prometheus, containers: Containers) -> None:
    container = containers.run().await_attached()
    await_alert(prometheus, "VtapdDeviceRuleFoughtOver", lambda: deny_device(container))


def test_console_dropped_fires(vtapd: Daemon, prometheus: Prometheus, containers: Containers) -> None:
    guest = containers.serving_guest()
    with stopped(parent_of(guest.pid)):
        print_lines(guest)
    await_alert(prometheus, "VtapdConsoleDropped", container=guest.name)


def test_restores_failing_fires(vtapd: Daemon, prometheus: Prometheus, containers: Containers) -> None:
    guest = containers.serving_guest(ready="tcp:80", snapshot="ready")

    def crash_with_a_damaged_snapshot() -> None:
        eventually(lambda: vtapd.inspect(guest.name).only_guest.snapshot, "the snapshot is taken", FIRES_S)
        Path(f"/proc/{guest.qemu()}/cwd/state").write_bytes(b"no state of any QEMU")
        guest.trigger("/crash")

    await_alert(prometheus, "VtapdRestoresFailing", crash_with_a_damaged_snapshot, container=guest.name)


@contextmanager
def docker_gone(machine: Machine, _daemon: Daemon) -> Iterator[None]:
    machine.dockerd.stop()
    try:
        yield
    finally:
        machine.dockerd.start()


@contextmanager
def daemon_gone(_machine: Machine, daemon: Daemon) -> Iterator[None]:
    daemon.stop()
    try:
        yield
    finally:
        daemon.start()


GONE = {"VtapdBlind": docker_gone, "VtapdDown": daemon_gone}


@pytest.mark.parametrize("alert", GONE)
def test_alert_fires_without_docker_or_daemon(
    vtapd: Daemon, prometheus: Prometheus, machine: Machine, alert: str
) -> None:
    eventually(lambda: prometheus.query(f'up{{instance="{METRICS}"}} == 1'), "the daemon is scraped", FIRES_S)
    with GONE[alert](machine, vtapd):
        await_alert(prometheus, alert)
    eventually(lambda: not prometheus.firing(alert), "the alert ends when it is back", FIRES_S)


def test_every_alert_has_a_test() -> None:
    here = Path(__file__).read_text()
    assert [alert for alert in ALERTS if f'"{alert}"' not in here] == []
