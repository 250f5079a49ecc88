"""A container's whole story is what the log has under its name."""

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.waiting import eventually

STORY = {
    "container_attached",
    "guest_started",
    "guest_running",
    "guest_exited",
}


def story(daemon: Daemon, name: str) -> list[str]:
    return [str(line["event"]) for line in daemon.log_lines() if line.get("container") == name]


def strays(daemon: Daemon, container: Container, *names: str) -> list[dict[str, object]]:
    """Lines that speak of it, and are not found by any of its names."""
    about = [line for line in daemon.log_lines() if container.id12 in str(line) or container.name in str(line)]
    return [line for line in about if line.get("container") not in names]


def test_from_start_to_end(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    guest.tell("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted")
    guest.await_page()
    vtapd.command("detach", guest.name)
    vtapd.command("attach", guest.name)
    guest.await_page()
    guest.remove()
    eventually(lambda: story(vtapd, guest.name).count("guest_exited") == 3, "three ends are told")
    assert set(story(vtapd, guest.name)) >= STORY
    assert strays(vtapd, guest, guest.name) == []


def test_one_that_is_refused(vtapd: Daemon, containers: Containers) -> None:
    wrong = containers.run(labels={"vtapd.memory": "lots"})
    vtapd.await_state(wrong.name, "rejected")
    assert "container_rejected" in story(vtapd, wrong.name)
    assert strays(vtapd, wrong, wrong.name) == []


@pytest.mark.vtapd_config(guest={"hang_after": "1s"}, attach={"resync": "1s"})
def test_after_a_rename(vtapd: Daemon, containers: Containers) -> None:
    """What is told from then on is under the new name, by the tasks that ran already as well."""
    guest = containers.serving_guest()
    guest.machine.docker("rename", guest.id, f"{guest.name}-new")
    vtapd.await_state(f"{guest.name}-new", "running")
    qemu = guest.qemu()
    guest.machine.run("kill", "-STOP", str(qemu))
    eventually(lambda: "guest_exited" in story(vtapd, f"{guest.name}-new"), "its end is told", 20)
    assert "guest_hangs" in story(vtapd, f"{guest.name}-new")
