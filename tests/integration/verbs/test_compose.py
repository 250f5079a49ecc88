"""docker compose: its foreground, Ctrl-C, exit status, conditions and restart, with guests as services.

Debian 12 has Compose 1.29 alone, whose command is `docker-compose` (tests/harness/compose.py).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.harness.compose import ENDS_S, STARTS_S, Project
from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.waiting import eventually, holds_for

from ..guest.test_exit_status import TERMINATED

LABELS = {"vtapd.kernel": "/hello.bin", "vtapd.memory": "16M", "vtapd.restart": "no"}

pytestmark = pytest.mark.timeout(200)


def project(machine: Machine, folder: Path, **services: Mapping[str, object]) -> Project:
    """JSON is YAML, too."""
    return Project(machine, folder, json.dumps({"services": services}))


def guest(machine: Machine, labels: Mapping[str, str] = MappingProxyType({}), **more: object) -> dict[str, object]:
    """A service with the test guest, whose first process is vtapd-init."""
    return {"image": machine.init_image, "labels": {**LABELS, **labels}} | more


def after(service: str, condition: str) -> dict[str, object]:
    return {service: {"condition": condition}}


def last_end(vtapd: Daemon) -> object:
    """Return the reason of the last end of a guest."""
    return [line["reason"] for line in vtapd.log_lines() if line.get("event") == "guest_exited"][-1]


def test_ctrl_c_stops_the_guest_of_compose_up(
    vtapd: Daemon, containers: Containers, machine: Machine, tmp_path: Path
) -> None:
    with project(machine, tmp_path, web=guest(machine)) as shop, shop.on_terminal("up") as terminal:
        assert terminal.shows("hello: serving on")
        web = shop.container("web")
        web.await_page()
        terminal.type("\x03")
        terminal.wait()
        assert not web.is_running()
        assert web.docker_state()["ExitCode"] == TERMINATED
        assert last_end(vtapd) == "stopped"


def test_exit_code_from_is_the_guests(vtapd: Daemon, containers: Containers, machine: Machine, tmp_path: Path) -> None:
    """Its end is that of the whole project."""
    client = {"image": machine.image, "labels": {"vtapd.enable": "false"}, "init": True}
    with project(machine, tmp_path, web=guest(machine), client=client) as shop:
        up = shop.start("up", "--exit-code-from", "web")
        web = shop.container("web")
        web.await_page()
        web.trigger("/exit?code=7")
        output, _ = up.communicate(timeout=ENDS_S)
        assert up.returncode == 7, output
        assert not shop.is_running("client")


def test_dependent_services_wait_for_guests(
    vtapd: Daemon, containers: Containers, machine: Machine, tmp_path: Path
) -> None:
    health = {"test": ["CMD", "/vtapd-init", "ready"], "interval": "200ms", "start_period": "60s"}
    db = guest(machine, {"vtapd.ready": "console:all migrated"}, healthcheck=health)
    job = guest(machine, depends_on=after("db", "service_healthy"))
    client = {"image": machine.image, "depends_on": after("job", "service_completed_successfully")}
    with project(machine, tmp_path, db=db, job=job, client=client) as shop:
        up = shop.start("up", "-d")
        serving = shop.container("db")
        serving.await_page()
        holds_for(lambda: not shop.is_running("job"), "no service starts before the guest is ready", 0.7)
        serving.trigger("/echo-console?text=all%20migrated%0A")
        working = shop.container("job")
        assert serving.docker_state()["Health"]["Status"] == "healthy"
        working.await_page()
        holds_for(lambda: not shop.is_running("client"), "no service starts before the guest is done", 0.7)
        working.trigger("/exit?code=0")
        shop.container("client")
        output, _ = up.communicate(timeout=ENDS_S)
        assert up.returncode == 0, output


def test_dependent_service_does_not_start_after_a_guest_that_failed(
    vtapd: Daemon, containers: Containers, machine: Machine, tmp_path: Path
) -> None:
    client = {"image": machine.image, "depends_on": after("job", "service_completed_successfully")}
    with project(machine, tmp_path, job=guest(machine), client=client) as shop:
        up = shop.start("up", "-d")
        job = shop.container("job")
        job.await_page()
        job.trigger("/crash")
        output, _ = up.communicate(timeout=ENDS_S)
        assert up.returncode != 0, output
        assert not shop.is_running("client")


def test_restart_of_a_service_gives_a_new_guest(
    vtapd: Daemon, containers: Containers, machine: Machine, tmp_path: Path
) -> None:
    """So does the service's own `restart`, after a guest that failed."""
    with project(machine, tmp_path, web=guest(machine, restart="on-failure")) as shop:
        shop.run("up", "-d")
        web = shop.container("web")
        web.await_page()
        qemu = web.qemu()
        shop.run("restart", "web")
        web = shop.container("web")
        web.await_page()
        assert web.qemu() != qemu
        assert last_end(vtapd) == "stopped"
        pid = web.pid
        web.trigger("/exit?code=3")
        eventually(lambda: web.restarted().pid not in (0, pid), "Docker starts it again", STARTS_S)
        web.restarted().await_page()
