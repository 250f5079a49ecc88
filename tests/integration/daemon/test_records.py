"""What the next daemon does if a container's record is lost, broken or foreign."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.chain import assert_attached
from tests.harness.containers import Container, Containers
from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import Daemon
from tests.harness.device_numbers import await_free, take_lower_numbers
from tests.harness.footprint import footprint
from tests.harness.killed_daemon import snapshot_of
from tests.harness.machine import Machine
from tests.harness.observe import NETNS_FOLDER, netns_links, network, node
from tests.harness.patient_daemon import LATE, PATIENT
from tests.harness.processes import is_alive, kill_and_await, run
from tests.harness.waiting import eventually


def _record(daemon: Daemon, container: Container) -> Path:
    return daemon.run_dir / f"{container.id}.json"


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _make_newer(path: Path) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"version": content["version"] + 1, "unheard_of": {}}))


BROKEN: dict[str, Callable[[Path], object]] = {
    "unreadable": lambda path: path.write_bytes(os.urandom(500)),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": _truncate,
    "of a newer version": _make_newer,
    "of another container": lambda path: path.write_text(path.read_text().replace(path.stem, "f" * 64)),
    "deleted": lambda path: path.unlink(),
}


@pytest.mark.parametrize("how", BROKEN)
def test_guest_with_a_lost_record_runs_on(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers, how: str
) -> None:
    """The guest is not disturbed, and everything that the takeover changed is still restored."""
    daemon = current_daemon.get({})
    guest, plain = containers.guest(), containers.run().await_attached()
    eventually(lambda: guest.get("/").status == 200, "it serves")
    qemu = guest.qemu()
    before = network(plain.pid)
    daemon.kill()
    for container in (guest, plain):
        BROKEN[how](_record(daemon, container))
    daemon.start()
    daemon.await_state(guest.name, "running")
    assert guest.qemu() == qemu
    assert guest.get("/").status == 200
    assert daemon.inspect(guest.name).interfaces[0].addresses == [f"{guest.address}/{guest.endpoint.prefix}"]
    guest.trigger("/crash")
    eventually(lambda: daemon.metrics().restarts(guest.name) == 1, "its crash is noticed and it is restarted")
    guest.await_page()
    for container in (guest, plain):
        daemon.request("detach", container.name)
    assert network(plain.pid) == before
    assert network(guest.pid).mac == guest.endpoint.mac
    assert any(guest.address in address for address in network(guest.pid).addresses)


def test_guest_without_a_record_is_given_back_dockers_network(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    """Address, broadcast and default route are rebuilt as in an untouched container."""
    daemon = current_daemon.get({})
    daemon.stop()
    guest = containers.guest()
    before = network(guest.pid)
    daemon.start()
    guest.await_page()
    daemon.kill()
    _record(daemon, guest).unlink()
    daemon.start()
    daemon.await_state(guest.name, "running")
    daemon.request("detach", guest.name)
    assert network(guest.pid) == before


def test_record_without_lifetimes_is_read(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    """Version 0.1 wrote such records."""
    daemon = current_daemon.get({})
    daemon.stop()
    guest = containers.guest()
    before = network(guest.pid)
    daemon.start()
    guest.await_page()
    daemon.kill()
    path = _record(daemon, guest)
    record = json.loads(path.read_text())
    (entry,) = record["taps"]
    for each in (*entry["original"]["addresses"], *entry["original"]["routes"]):
        del each["valid_until_s"]
    for address in entry["original"]["addresses"]:
        del address["flags"], address["preferred_until_s"]
    path.write_text(json.dumps(record))
    qemu = guest.qemu()
    daemon.start()
    daemon.await_state(guest.name, "running")
    assert guest.qemu() == qemu
    daemon.request("detach", guest.name)
    assert network(guest.pid) == before


def test_guest_is_replaced_if_all_records_and_sockets_are_deleted(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    """Without its socket QEMU cannot be reached, so it counts as hanging and is replaced."""
    daemon = current_daemon.get({"guest": {"hang_after": "500ms"}})
    guest = containers.serving_guest()
    qemu = guest.qemu()
    daemon.kill()
    shutil.rmtree(daemon.run_dir)
    daemon.start()
    eventually(lambda: daemon.metrics().exits(guest.name, "hang") == 1, "the hang is noticed")
    guest.await_page()
    assert not is_alive(qemu)
    assert guest.qemu() != qemu


@pytest.fixture
def foreign_symlinks() -> Iterator[set[str]]:
    """Symlinks like vtapd's that others made, of processes that have ended. An administrator uses the same idiom."""
    names = {"0123456789ab", "web"}
    for name in names:
        (NETNS_FOLDER / name).symlink_to("/proc/4194305/ns/net")  # more than pid_max can be
    # another daemon's, which has another run-time folder
    os.setxattr(NETNS_FOLDER / "0123456789ab", "trusted.vtapd", b"/run/other", follow_symlinks=False)
    yield names
    for name in names:
        (NETNS_FOLDER / name).unlink(missing_ok=True)


def test_records_and_symlinks_of_removed_containers_are_deleted(
    no_vtapd: None,
    machine: Machine,
    current_daemon: CurrentDaemon,
    containers: Containers,
    foreign_symlinks: set[str],
) -> None:
    """One container still has its record, the others have lost it: nothing of either stays. Foreign symlinks stay."""
    daemon = current_daemon.get({})
    gone, forgotten = containers.serving_guest(), containers.serving_guest()
    plain = containers.run().await_attached()
    daemon.kill()
    for container in (gone, forgotten, plain):
        container.remove()
    for container in (forgotten, plain):
        _record(daemon, container).unlink()
    ours = {gone.id12, forgotten.id12, plain.id12}
    assert ours <= set(netns_links())
    daemon.start()
    eventually(lambda: not ours & set(netns_links()), "the symlinks are gone")
    eventually(lambda: not footprint(machine, daemon.run_dir).run_files, "so are records and sockets")
    assert foreign_symlinks <= set(netns_links())


def test_record_of_an_earlier_run_of_the_container_is_replaced(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    daemon = current_daemon.get({})
    guest = containers.serving_guest()
    daemon.kill()
    guest.stop()
    again = guest.start()
    daemon.start()
    again.await_page()
    assert netns_links()[again.id12] == f"/proc/{again.pid}/ns/net"
    assert node(again.pid) is not None


def test_process_with_a_guests_name_is_not_adopted(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    """In the guest's own container such a process is killed as a stray; in another container it is ignored."""
    daemon = current_daemon.get({})
    victim, other = containers.serving_guest(), containers.run().await_attached()
    qemu = victim.qemu()
    daemon.kill()
    for container in (victim, other):
        container.machine.docker(
            "exec", "-d", container.id, "sh", "-c", f"exec -a sh sh -c 'sleep 60; true' -name vtapd-{victim.id}"
        )
    daemon.start()
    daemon.await_state(victim.name, "running")
    assert victim.qemu() == qemu
    assert victim.get("/").status == 200
    listed = [other.machine.docker("top", one.id, "-eo", "pid,args").count("sleep 60; true") for one in (victim, other)]
    assert listed == [0, 1]
    kill_and_await(qemu)
    victim.await_page()


RARE_RESYNC = {"attach": {"resync": "10m"}}
PATIENCE_S = 20.0
TRIES = 4


def await_whole(container: Container) -> None:
    def is_whole() -> bool:
        assert_attached(container)
        return True

    eventually(is_whole, f"{container.name} is attached", PATIENCE_S)


def delete_tap(container: Container) -> None:
    run(["nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", "link", "delete", container.tap_name])


@pytest.mark.both_cgroups
def test_devices_of_a_lost_record_are_denied_before_any_tap_is_made(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker answers late about the container, and the other container's tap waits for the answer."""
    daemon = current_daemon.get(RARE_RESYNC)
    loser = containers.run(labels=LATE).await_attached()
    major, minor = loser.tap_device()
    daemon.kill()
    _record(daemon, loser).unlink()
    delete_tap(loser)
    other = containers.run()
    monkeypatch.setattr(daemon, "program", PATIENT)
    daemon.start()
    for container in (other, loser):
        await_whole(container)
    facts = [
        (line.get("event"), line.get("step"), line.get("device"), line.get("container")) for line in daemon.log_lines()
    ]
    denied = facts.index(("unrecorded_device_denied", None, f"{major}:{minor}", loser.name))
    assert denied < facts.index(("step_done", "CreateTap", None, other.name))
    loser.exec("mknod", "/tmp/neighbours", "c", *map(str, other.tap_device()))
    assert not loser.opens("/tmp/neighbours")


@pytest.mark.both_cgroups
@pytest.mark.parametrize("minor", ["200", "*"])
def test_docker_device_rules_stay_when_the_record_is_lost(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers, minor: str
) -> None:
    daemon = current_daemon.get(RARE_RESYNC)
    major, _ = containers.run().await_attached().tap_device()
    daemon.stop()
    container = containers.run("--device-cgroup-rule", f"c {major}:{minor} rwm")
    before = snapshot_of(container)
    daemon.start()
    await_whole_but_rule(container)
    daemon.kill()
    _record(daemon, container).unlink()
    daemon.start()
    daemon.await_state(container.name, "attached")
    daemon.request("detach", container.name)
    after = snapshot_of(container)
    assert (sorted(after.rules), after.programs) == (sorted(before.rules), before.programs)


def await_whole_but_rule(container: Container) -> None:
    """Wait for a container that may open all taps, and therefore gets no rule."""
    container.await_attached()
    eventually(lambda: container.opens("/dev/tap0"), f"{container.name} opens its tap")


@pytest.mark.alone  # the taps of other tests would take the number
def test_number_of_an_ended_container_is_free_before_docker_answers(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = current_daemon.get(RARE_RESYNC)
    monkeypatch.setattr(daemon, "program", PATIENT)
    for _ in range(TRIES):
        ended = containers.run(labels=LATE).await_attached(PATIENCE_S)
        daemon.request("attach", ended.name)  # returns when the daemon is done with it
        device = ended.tap_device()
        daemon.kill()
        other = containers.run()
        take_lower_numbers(other, device)
        ended.stop()
        await_free(other, device)
        daemon.start()
        await_whole(other)
        if other.tap_device() == device:
            facts = [line.get("event") for line in daemon.log_lines()]
            assert "stale_device_forgotten" in facts
            assert "stale_device_denied" not in facts, "a warning without a reason"
            return
    raise AssertionError(f"other tests' taps took the number {TRIES} times: the test proves nothing")


@pytest.mark.both_cgroups
def test_device_number_on_two_records_is_given_to_neither(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    """An earlier version may have left this: one of the two may have the other one's tap open."""
    daemon = current_daemon.get(RARE_RESYNC)
    one, two = containers.run().await_attached(), containers.run().await_attached()
    for container in (one, two):
        daemon.request("attach", container.name)
    before = two.macvtap()
    daemon.kill()
    delete_tap(one)
    record = json.loads(_record(daemon, one).read_text())
    record["taps"][0]["device"] = dict(zip(("major", "minor"), two.tap_device(), strict=True))
    _record(daemon, one).write_text(json.dumps(record))
    daemon.start()
    for container in (one, two):
        await_whole(container)
    assert two.macvtap().ifindex != before.ifindex, "the tap was not made again"
    assert one.tap_device() != two.tap_device()
