"""A container that tries to mislead or crash the daemon: the daemon keeps running, and others do not notice."""

from tests.harness.containers import Container, Containers
from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import Daemon
from tests.harness.observe import qemus_of
from tests.harness.waiting import eventually

BOOTS_S = 30


def neighbour_is_attached(containers: Containers) -> None:
    containers.run().await_attached()


def test_process_name_may_have_any_bytes(vtapd: Daemon, containers: Containers) -> None:
    name = r"\320\277\321\200\320\276\321\206\320\265\321\201\321\201\320"  # cut within a character
    containers.run(command=("/bin/sh", "-c", f"printf '{name}' >/proc/self/comm; sleep 1000")).await_attached()
    neighbour_is_attached(containers)


def test_kernel_in_sysfs_is_rejected(vtapd: Daemon, containers: Containers) -> None:
    container = containers.guest(kernel="/sys/class/net/lo/speed")
    vtapd.await_state(container.name, "rejected")
    assert "vtapd.kernel" in vtapd.inspect(container.name).message
    neighbour_is_attached(containers)


def test_container_with_the_hosts_dev_is_refused(vtapd: Daemon, containers: Containers) -> None:
    container = containers.run("-v", "/dev:/dev")
    vtapd.await_state(container.name, "failed")
    assert "host's /dev" in vtapd.inspect(container.name).message


def test_tunnel_interface_is_ignored(vtapd: Daemon, containers: Containers) -> None:
    container = containers.run("--cap-add", "NET_ADMIN", "--device", "/dev/net/tun").await_attached()
    container.machine.run("nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", "tuntap", "add", "wg0", "mode", "tun")
    container.machine.run(
        "nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", "addr", "add", "10.9.0.1/24", "dev", "wg0"
    )
    vtapd.request("detach", container.name)
    vtapd.request("attach", container.name)
    vtapd.await_state(container.name, "attached")
    assert [each.name for each in vtapd.inspect(container.name).interfaces] == ["eth0"]


def only_qemu(container: Container) -> int:
    (pid,) = qemus_of(container.id)
    return pid


def test_attach_of_a_running_guest_changes_nothing(
    vtapd: Daemon, containers: Containers, current_daemon: CurrentDaemon
) -> None:
    guest = containers.serving_guest()
    pid = only_qemu(guest)
    vtapd.request("attach", guest.name)
    vtapd.stop()
    restarted = current_daemon.get({})
    restarted.await_state(guest.name, "running")
    assert only_qemu(guest) == pid


def test_lower_limits_apply_to_later_guests_only(
    vtapd: Daemon, containers: Containers, current_daemon: CurrentDaemon
) -> None:
    guest = containers.serving_guest(memory="96M")
    pid = only_qemu(guest)
    vtapd.stop()
    restarted = current_daemon.get({"guest": {"memory": "32M"}, "limits": {"memory": "64M"}})
    restarted.await_state(guest.name, "running")
    assert only_qemu(guest) == pid
    guest.await_page(BOOTS_S)


def test_paused_guest_is_adopted(vtapd: Daemon, containers: Containers, current_daemon: CurrentDaemon) -> None:
    guest = containers.serving_guest()
    pid = only_qemu(guest)
    guest.machine.docker("pause", guest.id)
    vtapd.stop()
    restarted = current_daemon.get({})
    guest.machine.docker("unpause", guest.id)
    restarted.await_state(guest.name, "running")
    assert only_qemu(guest) == pid


def test_realtime_stop_signal_is_handled(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest("--stop-signal", "SIGRTMIN+3")
    guest.stop(30)
    eventually(lambda: not qemus_of(guest.id), "QEMU is gone")
    ended = [line for line in vtapd.log_lines() if line.get("event") == "guest_exited"]
    assert ended[-1]["reason"] == "stopped", "the guest was stopped, not killed with its container"
