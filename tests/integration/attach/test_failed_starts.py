"""`vtapd run` gives one line on why it cannot start, and `vtapd check-config` finds wrong files before."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from supervisor.protocol import LOCKS_DIR
from tests.harness.containers import Containers
from tests.harness.daemon import COMMAND, Daemon, Tables, default_config, environment, format_toml, merged
from tests.harness.docker_proxy import DockerProxy
from tests.harness.machine import REPOSITORY, Machine
from tests.harness.processes import run

QUIET: Tables = {"log": {"level": "error"}}


def assert_one_clear_line(result: tuple[int, str], *words: str) -> None:
    status, printed = result
    lines = [line for line in printed.splitlines() if line.strip()]
    assert status == 1, printed
    assert len(lines) == 1, printed
    for word in words:
        assert word in lines[0], printed


def test_run_fails_without_docker(no_vtapd: None, machine: Machine) -> None:
    daemon = Daemon(machine, {**QUIET, "docker": {"host": "unix:///nonexistent/docker.sock", "timeout": "2s"}})
    assert_one_clear_line(daemon.run_to_end(), "/nonexistent/docker.sock")


def test_run_fails_if_another_vtapd_uses_the_run_dir(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    container = containers.run().await_attached()
    second = Daemon(machine, {**QUIET, "metrics": {"listen": "127.0.0.1:9818"}})
    second.config_file = machine.home / "second.toml"
    second.log_file = machine.home / "second.log"
    assert_one_clear_line(second.run_to_end(), str(vtapd.run_dir))
    assert vtapd.inspect(container.name).state == "attached", "the first daemon was disturbed"
    assert vtapd.control_socket.is_socket()


def test_run_fails_if_another_vtapd_watches_the_docker(
    machine: Machine, vtapd: Daemon, containers: Containers, proxy: DockerProxy
) -> None:
    """However Docker is addressed: this way leads through another socket. A killed vtapd holds nothing back."""
    container = containers.run().await_attached()
    tables: Tables = {
        "docker": {"host": f"unix://{machine.home / 'relay.sock'}"},
        "attach": {"run_dir": str(machine.home / "second")},
        "metrics": {"listen": ""},
    }
    second = Daemon(machine, {**QUIET, **tables})
    second.config_file = machine.home / "second.toml"
    second.log_file = machine.home / "second.log"
    assert_one_clear_line(second.run_to_end(), f"pid {vtapd.pid}", str(vtapd.run_dir), "watches the Docker")
    assert vtapd.inspect(container.name).state == "attached", "the first daemon was disturbed"
    container.remove()
    vtapd.kill()
    assert second.start().stop() == 0
    vtapd.start()
    own = {folder / "control.sock" for folder in (vtapd.run_dir, second.run_dir)}
    links = [path for path in Path(LOCKS_DIR).iterdir() if path.is_symlink() and path.readlink() in own]
    assert [path for path in links if path.exists()] == links


def test_run_fails_with_a_wrong_configuration(no_vtapd: None, machine: Machine) -> None:
    daemon = Daemon(machine, {**QUIET, "guest": {"memroy": "64M"}})
    assert_one_clear_line(daemon.run_to_end(), "guest", "memroy")


def test_run_fails_without_its_configuration_file() -> None:
    ended = run([*COMMAND, "run", "--config", "/nonexistent/vtapd.toml"], check=False, env=environment())
    assert ended.returncode in (1, 2)
    assert "/nonexistent/vtapd.toml" in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr


def check_config(file: Path) -> tuple[int, str]:
    checked = run([*COMMAND, "check-config", str(file)], check=False, env=environment())
    return checked.returncode, checked.stdout + checked.stderr


def test_check_config_accepts_a_good_file(machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "good.toml"
    file.write_text(format_toml(default_config(machine)))
    status, printed = check_config(file)
    assert status == 0, printed


def test_check_config_accepts_the_shipped_file() -> None:
    status, printed = check_config(REPOSITORY / "config" / "vtapd.toml")
    assert status == 0, printed


BAD: Sequence[tuple[Tables, Sequence[str]]] = [
    ({"guest": {"memroy": "64M"}}, ["guest", "memroy"]),
    ({"gusts": {"memory": "64M"}}, ["gusts"]),
    ({"restart": {"steps": "eight"}}, ["restart.steps"]),
    ({"restart": {"first": 100}}, ["restart.first"]),
    ({"restart": {"first": "soon"}}, ["restart.first", "soon"]),
    ({"restart": {"jitter": 7.0}}, ["restart.jitter"]),
    ({"guest": {"accel": "xen"}}, ["guest.accel", "xen"]),
    ({"guest": {"memory": "lots"}}, ["guest.memory", "lots"]),
    ({"attach": {"containers": "some"}}, ["attach.containers", "some"]),
    ({"metrics": {"listen": "9817"}}, ["metrics.listen", "9817"]),
    ({"log": {"level": "loud"}}, ["log.level", "loud"]),
]


@pytest.mark.parametrize(("change", "words"), BAD, ids=[f"{change}" for change, _ in BAD])
def test_check_config_rejects_a_wrong_file(
    machine: Machine, tmp_path: Path, change: Tables, words: Sequence[str]
) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(format_toml(merged(default_config(machine), change)))
    status, printed = check_config(file)
    assert status == 1, printed
    assert "Traceback" not in printed
    for word in words:
        assert word in printed, printed


def test_check_config_rejects_a_file_that_is_not_toml(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text("[guest\nmemory = ")
    status, printed = check_config(file)
    assert status == 1, printed
    assert str(file) in printed
