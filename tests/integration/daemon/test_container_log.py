"""The log has the whole history of a container under its name."""

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.waiting import eventually

EVENTS = {
    "container_attached",
    "guest_started",
    "guest_running",
    "guest_exited",
}


def events_of(daemon: Daemon, name: str) -> list[str]:
    return [str(line["event"]) for line in daemon.log_lines() if line.get("container") == name]


def lines_without_name(daemon: Daemon, container: Container, *names: str) -> list[dict[str, object]]:
    """Return the lines about a container that are not logged under any of its names."""
    about = [line for line in daemon.log_lines() if container.id12 in str(line) or container.name in str(line)]
    return [line for line in about if line.get("container") not in names]


def test_log_has_all_events_of_a_container(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    guest.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted")
    guest.await_page()
    vtapd.request("detach", guest.name)
    vtapd.request("attach", guest.name)
    guest.await_page()
    guest.remove()
    eventually(lambda: events_of(vtapd, guest.name).count("guest_exited") == 3, "three exits are logged")
    assert set(events_of(vtapd, guest.name)) >= EVENTS
    assert lines_without_name(vtapd, guest, guest.name) == []


def test_rejected_container_is_logged(vtapd: Daemon, containers: Containers) -> None:
    wrong = containers.run(labels={"vtapd.memory": "lots"})
    vtapd.await_state(wrong.name, "rejected")
    assert "container_rejected" in events_of(vtapd, wrong.name)
    assert lines_without_name(vtapd, wrong, wrong.name) == []


@pytest.mark.vtapd_config(guest={"hang_after": "1s"}, attach={"resync": "1s"})
def test_events_after_a_rename_are_logged_under_the_new_name(vtapd: Daemon, containers: Containers) -> None:
    """This includes events of tasks that already ran before the rename."""
    guest = containers.serving_guest()
    guest.machine.docker("rename", guest.id, f"{guest.name}-new")
    vtapd.await_state(f"{guest.name}-new", "running")
    qemu = guest.qemu()
    guest.machine.run("kill", "-STOP", str(qemu))
    eventually(lambda: "guest_exited" in events_of(vtapd, f"{guest.name}-new"), "its exit is logged", 20)
    assert "guest_hangs" in events_of(vtapd, f"{guest.name}-new")
