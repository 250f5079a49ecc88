"""What a guest is given in addition to its network: environment, names, kernel-args; and what is noted."""

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.views import GuestView
from tests.harness.waiting import eventually

PHRASE = 'correct "horse'


def guest_of(vtapd: Daemon, container: Container) -> GuestView:
    return vtapd.inspect(container.name).only_guest


def rejection_of(vtapd: Daemon, container: Container) -> str:
    view = vtapd.await_state(container.name, "rejected")
    assert view.reason is not None
    assert container.is_untouched()
    return view.reason


def test_variable_that_cannot_be_passed_is_noted_by_name(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest("-e", "http_proxy=http://192.0.2.1:3128", "-e", f"PHRASE={PHRASE}", env="true")
    assert "http_proxy=http://192.0.2.1:3128" in guest.info()["env"]
    note = "Not passed to the guest: variable 'PHRASE': its value may have no double quotes, backslashes."
    assert note in guest_of(vtapd, guest).notes
    logged = [line for line in vtapd.log_lines() if line.get("container") == guest.name]
    assert note in [line.get("note") for line in logged if line.get("event") == "guest_note"]
    assert not any("horse" in str(line) for line in logged)


def test_only_chosen_variables_are_passed(vtapd: Daemon, containers: Containers) -> None:
    variables = ("-e", "A=1", "-e", "B=2", "-e", f"PHRASE={PHRASE}")
    guest = containers.serving_guest(*variables, env="B,A")
    passed = [each for each in guest.info()["env"] if not each.startswith("DNS_RESOLVER=")]
    assert sorted(passed) == ["A=1", "B=2"]
    refused = rejection_of(vtapd, containers.guest(*variables, env="A,PHRASE"))
    assert "label vtapd.env='A,PHRASE' is refused" in refused
    assert "variable 'PHRASE': its value may have no double quotes" in refused
    assert "horse" not in refused
    assert "it has no 'C'" in rejection_of(vtapd, containers.guest(*variables, env="C"))


def test_proxy_variable_of_docker_rejects_no_linux_guest(vtapd: Daemon, containers: Containers) -> None:
    variables = ("-e", "http_proxy=http://192.0.2.1:3128", "-e", "GREETING=hiya")
    labels = {"vtapd.env": "true"}
    guest = containers.run(*variables, labels=labels, image=vtapd.machine.linux_image)
    view = vtapd.await_state(guest.name, "booting", "running")
    eventually(lambda: guest_of(vtapd, guest).command, "the guest is started")
    assert "GREETING=hiya" in " ".join(guest_of(vtapd, guest).command)
    notes = guest_of(vtapd, guest).notes
    assert "Not passed to the guest: variable 'http_proxy': for a linux guest its name must be in capitals." in notes
    assert view.reason is None


@pytest.mark.vtapd_config(guest={"link_address": ""})
def test_rumpruns_resolver_is_the_containers_first_dns_server(vtapd: Daemon, containers: Containers) -> None:
    """Without the private link it has to ask that server itself."""
    guest = containers.serving_guest("--dns", "192.0.2.53", "--dns", "192.0.2.54")
    assert guest.info()["env"] == ["DNS_RESOLVER=192.0.2.53"]
    assert "Not passed to the guest: DNS server 192.0.2.54." in guest_of(vtapd, guest).notes


def test_rumpruns_resolver_is_its_container(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest("--dns", "192.0.2.53", "--dns", "192.0.2.54")
    assert guest.info()["env"] == ["DNS_RESOLVER=169.254.118.1"]
    own = containers.serving_guest("--dns", "192.0.2.53", "-e", "DNS_RESOLVER=192.0.2.99", env="DNS_RESOLVER")
    assert own.info()["env"] == ["DNS_RESOLVER=192.0.2.99"]


def test_names_reach_the_guest_or_are_noted(vtapd: Daemon, containers: Containers) -> None:
    names = ("--hostname", "my_app", "--domainname", "example.com", "--add-host", "db:192.0.2.5")
    rumprun = containers.serving_guest(*names)
    assert rumprun.info()["hostname"] == "my_app"
    notes = guest_of(vtapd, rumprun).notes
    assert notes[-1] == "Not passed to the guest: domain name example.com."
    assert not any("db:192.0.2.5" in note for note in notes), "it finds this name by DNS"
    unikraft = containers.serving_guest(*names, kernel="/hello-unikraft.bin")
    assert unikraft.info()["hostname"] == ""
    assert "Not passed to the guest: host name my_app." in guest_of(vtapd, unikraft).notes
    assert ":example.com " in " ".join(guest_of(vtapd, unikraft).command)


def test_console_without_a_log_is_noted(vtapd: Daemon, containers: Containers) -> None:
    silent = containers.run(
        labels={"vtapd.kernel": "/hello.bin"}, command=("/bin/sh", "-c", "exec /bin/sleep infinity >/dev/null")
    )
    silent.await_page()
    note = "The guest's console is in no log: the container's init has no pipe or terminal as its output."
    assert note in guest_of(vtapd, silent).notes
    logged = containers.serving_guest()
    assert note not in guest_of(vtapd, logged).notes


def test_line_longer_than_the_linux_kernel_takes_is_refused(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.run(labels={"vtapd.args": "x" * 2048}, image=vtapd.machine.linux_image)
    assert "label vtapd.args='xxx" in (refused := rejection_of(vtapd, guest))
    assert "the image takes at most 2047 bytes" in refused


def test_unsupported_kernel_args_are_refused(vtapd: Daemon, containers: Containers) -> None:
    mirage = containers.guest(kernel="/hello-mirage.bin", kernel_args="--x")
    assert "the system of a mirage guest takes no arguments" in rejection_of(vtapd, mirage)
    rumprun = containers.guest(kernel_args='"net": {}')
    assert "members other than cmdline, env, hostname, net" in rejection_of(vtapd, rumprun)


def test_words_for_the_network_count_against_the_maximum(vtapd: Daemon, containers: Containers) -> None:
    """Without the network's words the line would fit."""
    guest = containers.run(labels={"vtapd.args": "x" * 1990}, image=vtapd.machine.linux_image)
    assert "the image takes at most 2047 bytes" in rejection_of(vtapd, guest)


def test_kernel_args_reach_the_guest(vtapd: Daemon, containers: Containers) -> None:
    unikraft = containers.serving_guest(kernel="/hello-unikraft.bin", kernel_args="app.debug=1", args="web -p 80")
    assert unikraft.info()["words"] == ["app.debug=1"]
    assert unikraft.info()["cmdline"].endswith("web -p 80")
    osv = containers.serving_guest(kernel="/hello-osv.bin", kernel_args="--verbose")
    assert osv.info()["words"] == ["--verbose"]


def test_disks_with_a_mount_point_are_mounted(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    """The disks have only the magic number of an ext2 superblock; the test guest does not read further."""
    content = bytearray(1 << 20)
    content[0x438:0x43A] = b"\x53\xef"
    for kernel, words in (
        ("/hello.bin", "/dev/ld0a"),
        ("/hello-osv.bin", "ext,/dev/vblk0,/data"),
    ):
        labels = {"vtapd.kernel": kernel, "vtapd.disk.3": "/data.img,mount=/data"}
        guest = containers.create(labels=labels)
        machine.put(bytes(content), guest.id, "/data.img")
        guest = guest.start()
        guest.await_page()
        (mount,) = guest.info()["mounts"]
        assert words in mount
        assert "/data" in mount
    unikraft = containers.create(
        labels={"vtapd.kernel": "/hello-unikraft.bin", "vtapd.disk.3": "/data.img,mount=/data"}
    )
    machine.put(bytes(content), unikraft.id, "/data.img")
    unikraft.start()
    assert "Unikraft has no file system for a disk" in rejection_of(vtapd, unikraft)
