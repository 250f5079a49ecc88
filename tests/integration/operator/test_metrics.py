"""The documented metrics: their names and types, what changes them, and that nothing outdated stays in them."""

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.metrics import Metrics
from tests.harness.observe import node
from tests.harness.waiting import eventually

TYPES = {
    "vtapd_build_info": "gauge",
    "vtapd_docker_connected": "gauge",
    "vtapd_docker_events": "counter",
    "vtapd_attachments": "gauge",
    "vtapd_attach_seconds": "histogram",
    "vtapd_attach_failures": "counter",
    "vtapd_device_rule_repairs": "counter",
    "vtapd_guests": "gauge",
    "vtapd_guest_up": "gauge",
    "vtapd_guest_start_seconds": "histogram",
    "vtapd_guest_ready_seconds": "histogram",
    "vtapd_guest_restarts": "counter",
    "vtapd_guest_exits": "counter",
    "vtapd_guest_backoff_seconds": "gauge",
    "vtapd_guest_sleeps": "counter",
    "vtapd_guest_wakes": "counter",
    "vtapd_guest_wake_seconds": "histogram",
    "vtapd_guest_restores": "counter",
    "vtapd_guest_restore_seconds": "histogram",
    "vtapd_snapshot_bytes": "gauge",
    "vtapd_guest_console_dropped_bytes": "counter",
    "vtapd_dns_queries": "counter",
    "vtapd_guest_cpu_seconds": "counter",
    "vtapd_guest_resident_memory_bytes": "gauge",
    "vtapd_guest_network_receive_bytes": "counter",
    "vtapd_guest_network_transmit_bytes": "counter",
    "vtapd_guest_network_receive_packets": "counter",
    "vtapd_guest_network_transmit_packets": "counter",
}


def counts(metrics: Metrics, *names: str) -> tuple[float, ...]:
    return tuple(metrics.value(name) for name in names)


def test_names_and_types_are_the_documented_ones(vtapd: Daemon, containers: Containers) -> None:
    containers.serving_guest()
    types = vtapd.metrics().types
    assert {name: types.get(name) for name in TYPES} == TYPES
    unknown = {name for name in types if name.startswith("vtapd_")} - set(TYPES)
    assert not unknown, "a metric is not documented"


def test_attachments_are_counted(vtapd: Daemon, containers: Containers) -> None:
    before = vtapd.metrics()
    assert before.value("vtapd_docker_connected") == 1
    assert next(before.series("vtapd_build_info"))[0]["version"]
    made = [containers.run().await_attached() for _ in range(2)]

    def attached(expected: int) -> bool:
        return vtapd.metrics().value("vtapd_attachments") - before.value("vtapd_attachments") == expected

    eventually(lambda: attached(2), "two more attachments")
    after = vtapd.metrics()
    assert after.value("vtapd_attach_seconds_count") - before.value("vtapd_attach_seconds_count") == 2
    assert after.value("vtapd_attach_seconds_sum") > before.value("vtapd_attach_seconds_sum")
    started = "vtapd_docker_events_total"
    assert after.value(started, action="start") - before.value(started, action="start") == 2
    assert after.value("vtapd_attach_failures_total") == before.value("vtapd_attach_failures_total")
    made[0].stop()
    eventually(lambda: attached(1), "one attachment less")


def test_running_guest_is_counted(vtapd: Daemon, containers: Containers) -> None:
    before = vtapd.metrics()
    guest = containers.serving_guest()
    eventually(lambda: vtapd.metrics().guest_up(guest.name), "vtapd_guest_up is 1")
    after = vtapd.metrics()
    assert after.value("vtapd_guest_start_seconds_count") == before.value("vtapd_guest_start_seconds_count") + 1
    assert {labels["guest"] for labels, _ in after.series("vtapd_guest_up", container=guest.name)} == {"rumprun"}
    assert after.states().get("running") == 1
    assert after.value("vtapd_guest_cpu_seconds_total", container=guest.name) > 0
    resident = after.value("vtapd_guest_resident_memory_bytes", container=guest.name)
    assert 2**20 < resident < 200 * 2**20


def test_traffic_is_counted_as_the_guest_sees_it(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()

    def traffic(kind: str) -> float:
        return vtapd.metrics().value(f"vtapd_guest_network_{kind}_total", container=guest.name)

    sent, received = traffic("transmit_bytes"), traffic("receive_bytes")
    packets = traffic("transmit_packets")
    guest.get("/bytes?n=1000000", 10)
    assert 1_000_000 <= traffic("transmit_bytes") - sent < 1_300_000, "the guest's output is not counted as transmitted"
    assert traffic("receive_bytes") - received < 300_000
    assert traffic("transmit_packets") - packets >= 1_000_000 / 1500


def test_ends_are_counted_by_reason(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.guest()
    for path, reason in (("/crash", "guest-reset"), ("/exit?code=3", "guest-exit")):
        guest.await_page()
        guest.trigger(path)
        # misc: mypy has no type for a lambda's default, which binds the loop's name.
        eventually(lambda why=reason: vtapd.metrics().exits(guest.name, why) == 1, f"one {reason}")  # type: ignore[misc]  # mypy has no type for a lambda's default
    guest.await_page()
    metrics = vtapd.metrics()
    assert (metrics.exits(guest.name), metrics.restarts(guest.name)) == (2, 2)


def await_no_series(daemon: Daemon, container: Container) -> None:
    eventually(lambda: not daemon.metrics().of_container(container.name), f"no series of {container.name}")


def test_series_disappear_with_their_container(vtapd: Daemon, containers: Containers) -> None:
    guest, stays = containers.serving_guest(), containers.serving_guest()
    guest.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it has series of all kinds")
    guest.remove()
    await_no_series(vtapd, guest)
    assert vtapd.metrics().guest_up(stays.name)
    assert sum(vtapd.metrics().states().values()) == 1


def test_rule_of_a_new_interface_is_not_a_repair(vtapd: Daemon, containers: Containers) -> None:
    container, network = containers.run().await_attached(), containers.network()
    before = vtapd.metrics().value("vtapd_device_rule_repairs_total")
    container.machine.docker("network", "connect", network, container.id)
    eventually(lambda: node(container.pid, "tap1"), "the second interface is attached too")
    assert vtapd.metrics().value("vtapd_device_rule_repairs_total") == before
