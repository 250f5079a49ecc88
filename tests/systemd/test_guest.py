"""A guest on a usual machine, from the inside and from outside the machine's network."""

from urllib.request import urlopen

from tests.harness.waiting import eventually

from .service import START_S, Inside, Service

GREETING = "Hiya, Gump!"
LINES = 500
"""More than a Unix socket of the usual size holds, byte by byte."""


def test_guest_answers_on_the_containers_address(guest: Inside) -> None:
    assert GREETING in guest.page()


def test_guest_is_ready_when_it_answers_a_ping(vtapd: Service, guest: Inside) -> None:
    eventually(lambda: vtapd.row(guest.name).get("state") == "ready", "the guest is ready", START_S, every_s=0.5)


def test_guest_answers_on_the_published_port(guest: Inside) -> None:
    """The request comes from outside the machine, so through Docker's firewall rules."""
    with urlopen(f"http://127.0.0.1:{guest.machine.published}/", timeout=30) as answer:
        assert GREETING in answer.read().decode()


def test_systemd_counts_qemu_with_the_container(vtapd: Service, guest: Inside) -> None:
    status = vtapd.machine.run("cat", f"/proc/{guest.qemu()}/status").out
    gid = vtapd.machine.run("id", "-g", "vtapd-guest").out.strip()
    assert f"Gid:\t{gid}\t{gid}\t{gid}\t{gid}\n" in status
    assert "Uid:\t0" not in status, "QEMU runs as root"
    assert "/run" not in vtapd.machine.run("ls", "-d", f"/proc/{guest.qemu()}/root/run", check=False).out
    assert "CapEff:\t0000000000000000\n" in status
    assert vtapd.pids == [vtapd.main_pid], "QEMU counts for the daemon"


def test_qemu_has_the_usual_priority(vtapd: Service, guest: Inside) -> None:
    """The daemon's priority is higher, since users wait for it."""
    assert [_nice(vtapd, pid) for pid in (vtapd.main_pid, guest.qemu())] == [-10, 0]


def _nice(vtapd: Service, pid: int) -> int:
    """Return field 19 of /proc/<pid>/stat (man 5 proc)."""
    stat = vtapd.machine.run("cat", f"/proc/{pid}/stat").out
    return int(stat.rpartition(")")[2].split()[16])


def test_guest_survives_a_daemon_reload(vtapd: Service, guest: Inside) -> None:
    qemu = guest.qemu()
    vtapd.machine.run("systemctl", "daemon-reload")
    assert GREETING in guest.page()
    assert guest.qemu() == qemu


def test_console_is_buffered_while_the_daemon_is_stopped(vtapd: Service, guest: Inside) -> None:
    """The unit's limits leave enough memory for that: no byte is lost or repeated."""
    machine, pid = vtapd.machine, str(vtapd.main_pid)
    machine.run("kill", "-STOP", pid)
    try:
        machine.run("curl", "-sS", "-m", "20", f"http://{guest.address}/lines?n={LINES}")
        log = machine.run("docker", "logs", "--tail", str(LINES), guest.name).lines
    finally:
        machine.run("kill", "-CONT", pid)
    assert [line.strip() for line in log] == [f"line {number} of {LINES}" for number in range(1, LINES + 1)]
