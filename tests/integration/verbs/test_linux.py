"""One Linux guest through Docker's verbs: it notices none of those that only look, and ends in its own way."""

import pytest

from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.waiting import eventually
from tests.images.container import make_init

BOOT_S = 40.0
STOP_S = 60


@pytest.mark.timeout(200)
def test_verbs_mean_for_linux_what_they_mean_for_a_process(
    vtapd: Daemon, containers: Containers, machine: Machine
) -> None:
    init = ("-v", f"{make_init()}:/vtapd-init:ro", "--entrypoint", "/vtapd-init", "--stop-timeout", str(STOP_S))
    guest = containers.run(*init, labels={"vtapd.stop-timeout": f"{STOP_S}s"}, image=machine.linux_image)
    guest.await_page(BOOT_S)
    qemu, name = guest.qemu(), f"{guest.name}-renamed"

    machine.docker("pause", guest.id)
    vtapd.await_state(guest.name, "paused")
    machine.docker("unpause", guest.id)
    machine.docker("rmi", machine.docker("commit", guest.id))
    machine.docker("update", "--cpus", "1.5", guest.id)
    machine.docker("rename", guest.id, name)
    assert "qemu" in guest.exec("ps")
    assert machine.docker("diff", guest.id) == "A /vtapd-init"
    assert guest.get().status == 200
    assert guest.qemu() == qemu
    vtapd.await_state(name, "running")

    machine.docker("restart", guest.id, timeout_s=STOP_S)
    assert "linux-guest: power button" in guest.logs()
    again = guest.restarted()
    again.await_page(BOOT_S)
    again.trigger("/cgi-bin/poweroff")
    eventually(lambda: not again.is_running(), "the container ends with its guest", BOOT_S)
    assert again.docker_state()["ExitCode"] == 0
    assert vtapd.metrics().exits(name, "hang") == 0
