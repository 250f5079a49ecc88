"""An idle guest falls asleep, and the first packet for it wakes it."""

import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from supervisor.core.container import Pid
from supervisor.edges.kernel import netns
from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.observe import macvtaps, network, qemus_of
from tests.harness.processes import run
from tests.harness.terminal import Terminal
from tests.harness.waiting import eventually, holds_for

IDLE = {"idle": "1s,stop", "restart": "no"}
SLOW = {"idle": "4s,stop", "restart": "no"}
"""For tests that look at a guest that was woken, before it falls asleep again."""
PATIENCE_S = 20.0
LINUX_BOOTS_S = 60.0
WAKES_S = 8.0
"""For an answer of a guest that boots first, on a busy machine."""


def asleep(vtapd: Daemon, guest: Container) -> Container:
    """Wait until the guest sleeps."""
    vtapd.await_state(guest.name, "asleep", deadline_s=PATIENCE_S)
    assert qemus_of(guest.id) == []
    return guest


def answers(guest: Container) -> bool:
    return "Hiya" in guest.get(timeout_s=WAKES_S).body


def test_idle_guest_sleeps_until_a_packet_comes(vtapd: Daemon, containers: Containers) -> None:
    """It keeps its ready mark, and neither falling asleep nor waking is an end or a restart."""
    guest = asleep(vtapd, containers.serving_guest(ready="tcp:80", **SLOW))
    assert guest.is_running()
    assert guest.exec("ls", "/dev/vtapd-ready", check=False).strip() == "/dev/vtapd-ready"
    metrics = vtapd.metrics()
    assert metrics.states()["asleep"] == 1
    view = vtapd.inspect(guest.name)
    assert "vtapd wake" in view.message
    holds_for(lambda: not qemus_of(guest.id), "the guest sleeps", 1.5)
    assert answers(guest)
    view = vtapd.await_state(guest.name, "ready", deadline_s=PATIENCE_S)
    assert view.only_guest.last_exit is None
    metrics = vtapd.metrics()
    counted = [metrics.value(f"vtapd_guest_{what}_total", container=guest.name) for what in ("sleeps", "wakes")]
    assert counted == [1, 1]
    assert metrics.value("vtapd_guest_wake_seconds_count") == 1
    assert metrics.restarts(guest.name) == 0


def requests_of(guest: Container) -> int:
    """Ask the test guest how often it was asked: it counts in its memory."""
    return int(guest.info()["requests"])


def test_suspended_guest_goes_on_where_it_was(vtapd: Daemon, containers: Containers) -> None:
    """A connection that was open before it slept is open afterwards."""
    guest = containers.serving_guest(idle="4s", restart="no", ready="tcp:80")
    machine = containers.machine
    before = requests_of(guest)

    def connect() -> socket.socket:
        return socket.create_connection((guest.address, 80), timeout=WAKES_S)

    with machine.namespace.inside(connect) as connection:
        asleep(vtapd, guest)
        (kept,) = (vtapd.run_dir / "asleep").iterdir()
        assert kept.stat().st_mode & 0o777 == 0o600
        holds_for(lambda: not qemus_of(guest.id), "the guest sleeps", 1.5)
        connection.sendall(b"GET /info HTTP/1.0\r\n\r\n")
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    said = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert said["requests"] == before + 1
    view = vtapd.await_state(guest.name, "ready", deadline_s=PATIENCE_S)
    assert (view.only_guest.last_exit, view.only_guest.notes) == (None, [])
    assert not kept.exists()
    assert vtapd.metrics().restarts(guest.name) == 0


def test_operator_suspends_a_guest_without_the_label(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    before = [requests_of(guest) for _ in range(9)][-1]  # more than it will be asked after it has booted again
    assert vtapd.command("suspend", guest.name).stdout == f"{guest.name} is asleep\n"
    vtapd.kill()
    vtapd.start()
    asleep(vtapd, guest)
    assert vtapd.command("wake", guest.name).stdout == f"{guest.name} is running\n"
    assert requests_of(guest) == before + 1
    assert vtapd.command("suspend", guest.name).returncode == 0
    assert vtapd.command("stop", guest.name).stdout == f"{guest.name} is exited\n"
    eventually(lambda: not list((vtapd.run_dir / "asleep").iterdir()), "its state is removed")
    assert vtapd.command("start", guest.name).stdout == f"{guest.name} is running\n"
    assert guest.await_page()
    assert requests_of(guest) < before


@pytest.mark.parametrize("harm", ["truncated", "missing", "foreign"])
def test_guest_boots_if_its_state_cannot_be_used(vtapd: Daemon, containers: Containers, harm: str) -> None:
    guest = containers.serving_guest()
    vtapd.command("suspend", guest.name)
    (kept,) = (vtapd.run_dir / "asleep").iterdir()
    match harm:
        case "truncated":
            kept.write_bytes(kept.read_bytes()[:1000])
        case "missing":
            kept.unlink()
        case _:
            kept.write_bytes(bytes(kept.stat().st_size))
    assert answers(guest)
    (note,) = vtapd.inspect(guest.name).only_guest.notes
    assert "booted when it was woken" in note
    assert vtapd.inspect(guest.name).only_guest.last_exit is None


def test_guest_stays_awake_if_there_is_no_room_for_its_state(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    before = requests_of(guest)
    folder = vtapd.run_dir / "asleep"
    folder.mkdir(exist_ok=True)
    run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)])
    try:
        failed = vtapd.command("suspend", guest.name, check=False)
        assert (failed.returncode, "does not fall asleep" in failed.stderr) == (1, True)
        assert requests_of(guest) == before + 1
        assert list(folder.iterdir()) == []
        assert "could not be put to sleep" in vtapd.inspect(guest.name).message
    finally:
        run(["umount", str(folder)])
    assert vtapd.command("suspend", guest.name).returncode == 0
    assert requests_of(guest) == before + 2


def by_neighbour(containers: Containers, guest: Container) -> str:
    return containers.run().fetch(guest.address)


def by_its_container(containers: Containers, guest: Container) -> str:
    return guest.fetch(guest.address)


def by_published_port(containers: Containers, guest: Container) -> str:
    port = containers.machine.docker("port", guest.id, "80").rpartition(":")[2]
    return containers.machine.http(f"http://127.0.0.1:{port}/", WAKES_S).body


@pytest.mark.parametrize("fetch", [by_neighbour, by_its_container, by_published_port])
def test_every_way_to_a_guest_wakes_it(
    vtapd: Daemon, containers: Containers, fetch: Callable[[Containers, Container], str]
) -> None:
    guest = asleep(vtapd, containers.serving_guest("-p", "127.0.0.1::80", **IDLE))
    assert "Hiya" in fetch(containers, guest)


def test_console_wakes_a_guest_and_keeps_it_awake(vtapd: Daemon, containers: Containers) -> None:
    guest = asleep(vtapd, containers.serving_guest(**IDLE))
    with Terminal.of(vtapd, "console", guest.name):
        vtapd.await_state(guest.name, "running", deadline_s=PATIENCE_S)
        holds_for(lambda: vtapd.inspect(guest.name).state == "running", "the guest is awake", 2.5)
    asleep(vtapd, guest)


def test_linux_guest_goes_on_where_it_was(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.run(image=containers.machine.linux_image, labels={"vtapd.idle": "2s"})
    neighbour = containers.run()
    eventually(lambda: "Hello from Linux" in neighbour.fetch(guest.address), "the guest serves", LINUX_BOOTS_S)
    vtapd.await_state(guest.name, "asleep", deadline_s=LINUX_BOOTS_S)
    log = guest.logs()
    assert "Hello from Linux" in neighbour.fetch(guest.address)
    assert guest.logs() == log, "it has booted again"
    assert vtapd.inspect(guest.name).only_guest.notes == []


def test_storm_wakes_every_guest(vtapd: Daemon, containers: Containers) -> None:
    guests = [containers.serving_guest(memory="16M") for _ in range(10)]
    assert vtapd.command("suspend", *(guest.name for guest in guests), timeout_s=60.0).returncode == 0
    with ThreadPoolExecutor(len(guests)) as pool:
        assert all(pool.map(answers, guests))
    assert [vtapd.inspect(guest.name).only_guest.notes for guest in guests] == [[]] * len(guests)


def test_packets_keep_a_guest_awake(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest(idle="3s,stop")
    holds_for(lambda: guest.get().status == 200, "the guest answers", 5.0)
    assert vtapd.metrics().value("vtapd_guest_sleeps_total", container=guest.name) == 0
    asleep(vtapd, guest)


@pytest.mark.parametrize("probe", ["tcp:80", "ping", "http:80/"])
def test_health_checks_do_not_keep_a_guest_awake(vtapd: Daemon, containers: Containers, probe: str) -> None:
    guest = containers.serving_guest(alive=f"{probe},every=200ms", idle="2s,stop")
    asleep(vtapd, guest)
    holds_for(lambda: not qemus_of(guest.id), "nothing asks the guest that sleeps", 2.0)
    assert answers(guest)


def test_broadcasts_and_old_connections_wake_no_guest(vtapd: Daemon, containers: Containers) -> None:
    """A client on its network sends what is not meant for the guest, and the end of a connection that it forgot."""
    guest, neighbour = containers.serving_guest(**IDLE), containers.run()
    assert "Hiya" in neighbour.fetch(guest.address)  # it knows the guest's MAC now
    mac = guest.endpoint.mac
    asleep(vtapd, guest)

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as packets:
            packets.bind(("eth0", 0x0800))
            to, own = bytes.fromhex(mac.replace(":", "")), packets.getsockname()[4]
            addresses = socket.inet_aton(neighbour.address) + socket.inet_aton(guest.address)
            head = b"\x45\0\0\x28\0\1\0\0\x40\6\0\0" + addresses
            for flags in (b"\x11", b"\4", b"\x14", b"\x10"):  # FIN, RST, RST and ACK, ACK
                tcp = b"\x9c\x40\0\x50\0\0\0\1\0\0\0\1\x50" + flags + b"\4\0\0\0\0\0"
                packets.send(to + own + b"\x08\0" + head + tcp)
            for _ in range(3000):  # more than the queue of a tap has room for
                packets.send(b"\xff" * 6 + own + b"\x08\0" + head + tcp)

    netns.call_inside(Pid(neighbour.pid), send)
    holds_for(lambda: not qemus_of(guest.id), "the guest sleeps", 1.5)
    assert answers(guest)


def test_docker_does_to_a_guest_that_sleeps_what_one_expects(vtapd: Daemon, containers: Containers) -> None:
    docker = containers.machine.docker
    guest = asleep(vtapd, containers.serving_guest(**IDLE))
    docker("pause", guest.id)
    vtapd.await_state(guest.name, "paused")
    docker("unpause", guest.id)
    asleep(vtapd, guest)
    docker("network", "disconnect", "bridge", guest.id)
    eventually(lambda: not macvtaps(guest.pid), "its tap is gone")
    assert not qemus_of(guest.id)
    docker("network", "connect", "bridge", guest.id)
    eventually(lambda: macvtaps(guest.pid), "it has a tap again")
    asleep(vtapd, guest)
    assert answers(guest.restarted())
    asleep(vtapd, guest)
    guest.stop()
    eventually(lambda: not guest.is_running(), "the container has ended")
    again = guest.start()
    again.await_page()
    asleep(vtapd, again).remove()
    eventually(lambda: not list(vtapd.run_dir.glob(f"{guest.id12}*")), "nothing is left of it")


def test_operator_ends_the_sleep(vtapd: Daemon, containers: Containers) -> None:
    guest = asleep(vtapd, containers.serving_guest(**SLOW))
    before = guest.endpoint
    assert vtapd.command("wake", guest.name).stdout == f"{guest.name} is running\n"
    assert vtapd.command("wake", guest.name).returncode == 0, "waking a guest that is awake is an error"
    assert vtapd.command("suspend", guest.name).stdout == f"{guest.name} is asleep\n"
    assert vtapd.command("suspend", guest.name).returncode == 0, "suspending a guest that sleeps is an error"
    assert vtapd.command("start", guest.name).stdout == f"{guest.name} is running\n"
    asleep(vtapd, guest)
    assert vtapd.command("stop", guest.name).stdout == f"{guest.name} is exited\n"
    own = f"{before.address}/{before.prefix}"
    eventually(lambda: any(own in each for each in network(guest.pid).addresses), "the container has its address")
    assert vtapd.command("restart", guest.name).stdout == f"{guest.name} is running\n"
    asleep(vtapd, guest)
    assert vtapd.command("detach", guest.name).returncode == 0
    assert not macvtaps(guest.pid)
    assert vtapd.command("attach", guest.name).returncode == 0
    guest.await_page()


def test_daemon_that_was_killed_wakes_guests_as_if_nothing_had_been(vtapd: Daemon, containers: Containers) -> None:
    guest = asleep(vtapd, containers.serving_guest(ready="tcp:80", **SLOW))
    vtapd.kill()
    vtapd.start()
    asleep(vtapd, guest)
    holds_for(lambda: not qemus_of(guest.id), "the guest sleeps", 1.5)
    assert guest.exec("ls", "/dev/vtapd-ready", check=False).strip() == "/dev/vtapd-ready"
    assert answers(guest)
    record = json.loads((vtapd.run_dir / f"{guest.id}.json").read_text())
    assert (record["guest"]["sleeps"], record["guest"]["wakes"]) == (1, 1)


def test_filter_is_gone_from_the_tap_of_a_guest_that_is_awake(vtapd: Daemon, containers: Containers) -> None:
    guest = asleep(vtapd, containers.serving_guest(**SLOW))
    shown = ["nsenter", f"--net=/proc/{guest.pid}/ns/net", "tc", "filter", "show", "dev", guest.tap_name, "ingress"]
    assert "vtapd-" in run(shown).stdout
    assert answers(guest)
    assert run(shown).stdout == ""
