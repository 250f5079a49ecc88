"""Every kind of guest, booted: recognised by its image, given its network in its own format, ended in its own ways.

The test guest is built once as each kind (tests/guest/kind_*.c), and reads and prints what that kind does. So a second
reader of the same sources checks what vtapd writes and understands.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import REPOSITORY, Machine
from tests.harness.observe import qemus_of
from tests.harness.processes import is_alive
from tests.harness.waiting import eventually

PATIENCE_S = 30.0
DOCKERS_PATIENCE_S = 60
SUBNET = "10.213.7.0/24"
ADDRESS = "10.213.7.42"
BAKED = f"nanos en1.ipaddr={ADDRESS} en1.netmask=255.255.255.0 en1.gateway=10.213.7.1\0".encode()
BAKED_AT = 127 * 512
"""The sector of tests/guest/disk.S with the command line."""


@dataclass(frozen=True)
class Kind:
    """One image, and what is expected of it."""

    name: str
    image: str
    takes: frozenset[str]
    """Of args, env, dns: what this form can be given."""
    abort: str = "guest-panic"
    exit_7: tuple[str, int | None] = ("guest-exit", 7)


ALL = frozenset({"args", "env"})
KINDS = {
    kind.image: kind
    for kind in (
        Kind("rumprun", "/hello.bin", ALL),
        Kind("unikraft", "/hello-unikraft.bin", ALL),
        Kind("unikraft", "/hello-unikraft-old.bin", frozenset({"args"})),
        Kind("osv", "/hello-osv.bin", ALL),
        Kind("mirage", "/hello-mirage.bin", frozenset({"args"})),
        Kind("hermit", "/hello-hermit.bin", ALL, exit_7=("guest-exit", 1)),
        Kind("nanos", "/hello-nanos.img", frozenset()),
    )
}
Boot = Callable[..., Container]


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def boot(vtapd: Daemon, containers: Containers, machine: Machine) -> Boot:
    """Start a container whose guest is of this kind, and wait for its page. The daemon is running."""

    def start(kind: Kind, *options: str, **labels: str) -> Container:
        asked = {"vtapd.kernel": kind.image} | {f"vtapd.{k.replace('_', '-')}": v for k, v in labels.items()}
        if kind.name == "osv":
            asked["vtapd.kernel-args"] = "--verbose"  # otherwise OSv does not print its exit code
        if kind.name != "nanos":
            container = containers.run(*options, labels=asked)
        else:
            on = ("--network", containers.network("--subnet", SUBNET), "--ip", ADDRESS)
            container = containers.create(*on, *options, labels=asked)
            image = bytearray((REPOSITORY / "build/guest/hello-nanos.img").read_bytes())
            image[BAKED_AT : BAKED_AT + len(BAKED)] = BAKED
            machine.put(bytes(image), container.id, kind.image)
            machine.docker("start", container.id)
        container.await_page(PATIENCE_S)
        return container

    return start


def test_guest_is_recognised_and_serves_on_the_containers_address(vtapd: Daemon, kind: Kind, boot: Boot) -> None:
    guest = boot(kind, *(("-p", "8087:80") if kind.name != "nanos" else ()))
    info, endpoint = guest.info(), guest.endpoint
    assert (info["addr"], info["mask"], info["gw"]) == (endpoint.address, str(endpoint.prefix), endpoint.gateway)
    assert (info["mac"], info["mtu"]) == (endpoint.mac, 1500)
    view = vtapd.inspect(guest.name).only_guest
    assert view.kind == kind.name
    assert view.kind_because.startswith("the image has ")
    left_out = [note for note in view.notes if "DNS" not in note]
    assert bool(left_out) == (kind.name == "nanos"), view.notes


def test_arguments_and_environment_reach_the_guest(kind: Kind, boot: Boot) -> None:
    labels = {"args": "/web -p 80"} if "args" in kind.takes else {}
    labels |= {"env": "true"} if "env" in kind.takes else {}
    info = boot(kind, "-e", "GREETING=hiya,gump", "-e", "EMPTY=", **labels).info()
    if "args" in kind.takes:
        assert info["cmdline"] == "/web -p 80"
    if "env" in kind.takes:
        assert {"GREETING=hiya,gump", "EMPTY="} <= set(info["env"])
    else:
        assert info["env"] == []


@pytest.mark.parametrize("image", ["/hello.bin", "/hello-unikraft.bin", "/hello-hermit.bin"])
def test_variable_with_blanks_arrives_unchanged(boot: Boot, image: str) -> None:
    info = boot(KINDS[image], "-e", "GREETING=hiya,  gump = 1", env="true").info()
    assert "GREETING=hiya,  gump = 1" in info["env"]


def test_unikraft_guest_has_the_hostname(boot: Boot) -> None:
    guest = boot(KINDS["/hello-unikraft.bin"], "--hostname", "gump.example.org")
    assert guest.info()["hostname"] == "gump.example.org"


@pytest.mark.parametrize(("image", "is_given"), [("/hello.bin", True), ("/hello-unikraft.bin", False)])
def test_unsupported_ipv6_is_left_out_and_noted(
    vtapd: Daemon, containers: Containers, boot: Boot, image: str, is_given: bool
) -> None:
    guest = boot(KINDS[image], "--network", containers.network("--ipv6", "--subnet", "fd00:213:7::/64"))
    assert guest.info()["addr"] == guest.address
    notes = vtapd.inspect(guest.name).only_guest.notes
    assert any("address fd00:213:7::" in note for note in notes) is not is_given, notes
    assert ("inet6 ignored" in guest.logs()) is is_given, "the log of the test guest as rumprun"


def await_end(daemon: Daemon, guest: Container, reason: str, code: int | None, old_qemu: int) -> None:
    """Assert that the guest ended once with this reason, and that a new QEMU answers."""
    eventually(lambda: daemon.metrics().exits(guest.name, reason) == 1, f"one end by {reason}", PATIENCE_S)
    eventually(lambda: not is_alive(old_qemu), "the old QEMU is gone")
    guest.await_page(PATIENCE_S)
    view = daemon.inspect(guest.name).only_guest
    assert [(ending.reason, ending.code) for ending in view.history] == [(reason, code)]
    assert view.restarts == 1


@pytest.mark.parametrize("path", ["/abort", "/trap", "/crash", "/exit?code=7"])
def test_crash_is_reported_and_the_guest_restarted(vtapd: Daemon, kind: Kind, boot: Boot, path: str) -> None:
    guest = boot(kind)
    old = guest.qemu()
    guest.trigger(path)
    reason, code = {
        "/abort": ("guest-panic", None),
        "/trap": ("guest-panic", None),
        "/crash": ("guest-reset", None),
        "/exit?code=7": kind.exit_7,
    }[path]
    await_end(vtapd, guest, reason, code, old)


@pytest.mark.parametrize("path", ["/exit?code=0", "/poweroff"])
def test_clean_end_is_reported_and_the_guest_not_restarted(vtapd: Daemon, kind: Kind, boot: Boot, path: str) -> None:
    guest = boot(kind, on_exit="keep")
    guest.trigger(path)
    last = vtapd.await_state(guest.name, "exited", deadline_s=PATIENCE_S).only_guest.last_exit
    assert last is not None
    assert (last.reason, last.code) == ("guest-exit", 0)
    assert qemus_of(guest.id) == []


def test_text_that_resembles_an_end_inside_a_line_is_ignored(vtapd: Daemon, kind: Kind, boot: Boot) -> None:
    guest = boot(kind)
    qemu = guest.qemu()
    for text in ("halted", "_exit(7) called", "CRIT: [libmusl] abort called", "[backtrace]", "Solo5: Halted"):
        guest.get("/echo-console?text=GET%20/" + text.replace(" ", "%20") + "%20HTTP/1.1%0a")
    eventually(lambda: guest.logs().count("GET /") == 5, "all lines are in docker logs")
    assert guest.info()["requests"] > 5
    assert (guest.qemu(), vtapd.metrics().exits(guest.name)) == (qemu, 0)


def test_osv_guest_may_finish_its_backtrace(vtapd: Daemon, boot: Boot) -> None:
    guest = boot(KINDS["/hello-osv.bin"])
    guest.trigger("/abort")
    eventually(lambda: vtapd.metrics().exits(guest.name, "guest-panic") == 1, "one crash", PATIENCE_S)
    assert "<osv::halt()+12>" in guest.logs()


def test_docker_stop_presses_the_power_button_of_a_nanos_guest(boot: Boot) -> None:
    guest = boot(KINDS["/hello-nanos.img"], stop_timeout=f"{DOCKERS_PATIENCE_S}s")
    guest.stop(DOCKERS_PATIENCE_S)
    assert "hello: power button" in guest.logs()
    assert not guest.is_running()


def test_end_of_an_adopted_guest_is_recognised(vtapd: Daemon, boot: Boot) -> None:
    """Only a parent gets its child's exit status, so for an adopted nanos guest only the console shows the reason."""
    guest = boot(KINDS["/hello-nanos.img"])
    before = vtapd.await_state(guest.name, "running", deadline_s=PATIENCE_S).only_guest
    vtapd.kill()
    vtapd.start()
    after = vtapd.await_state(guest.name, "running", deadline_s=PATIENCE_S).only_guest
    assert after == before
    assert after.notes
    old = guest.qemu()
    guest.trigger("/abort")
    await_end(vtapd, guest, "guest-panic", None, old)


def test_nanos_kernel_gets_no_command_line(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.guest(kernel="/hello-nanos.bin", guest="nanos")
    vtapd.await_state(guest.name, "running", deadline_s=PATIENCE_S)
    view = vtapd.inspect(guest.name).only_guest
    assert (view.kind, view.kind_because) == ("nanos", "label vtapd.guest says so")
    assert "-append" not in view.command
    assert any("baked into its image" in note for note in view.notes)


@pytest.mark.parametrize(
    ("labels", "label"),
    [
        ({"kernel": "/hello-mirage.bin", "env": "true"}, "vtapd.env"),
        ({"kernel": "/hello-unikraft-old.bin", "env": "true"}, "vtapd.env"),
        ({"kernel": "/hello-nanos.img", "args": "web"}, "vtapd.args"),
        ({"kernel": "/hello-nanos.img", "initrd": "/hello.bin"}, "vtapd.initrd"),
        ({"kernel": "/hello-nanos.img", "guest": "rumprun"}, "vtapd.guest=rumprun"),
    ],
)
def test_unsupported_label_is_refused_by_name(
    vtapd: Daemon, containers: Containers, labels: dict[str, str], label: str
) -> None:
    container = containers.guest("-e", "GREETING=hiya", **labels)
    assert label in vtapd.await_state(container.name, "rejected").message
    assert container.is_untouched()


@pytest.mark.parametrize(("image", "value"), [("/hello-osv.bin", "a b"), ("/hello.bin", 'a "b"')])
def test_variable_that_a_kind_cannot_take_is_left_out_with_a_note(
    vtapd: Daemon, containers: Containers, image: str, value: str
) -> None:
    guest = containers.serving_guest("-e", f"GREETING={value}", kernel=image, env="true")
    assert not any("GREETING" in each for each in guest.info()["env"])
    assert any("variable 'GREETING'" in note for note in vtapd.inspect(guest.name).only_guest.notes)
