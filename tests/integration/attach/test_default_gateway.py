"""Docker moves a container's default route when a network is connected or disconnected, also under a guest.

A twin, which vtapd leaves alone, shows what Docker does: the same commands are given to both.
"""

import json
import re

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.observe import macvtaps
from tests.harness.processes import run
from tests.harness.waiting import eventually

PATIENCE_S = 15.0


class Twins:
    """A container with a guest, and one that vtapd leaves alone, on the same networks."""

    def __init__(self, containers: Containers, **labels: str) -> None:
        self.containers = containers
        self.names = sorted(containers.network("--ipv6", "--subnet", f"fd00:88:{n}::/64") for n in (1, 2, 3))
        asked = {f"vtapd.{key}": value for key, value in ({"kernel": "/hello-osv.bin"} | labels).items()}
        self.guest = containers.create("--network", self.names[1], labels=asked)
        self.plain = containers.create("--network", self.names[1], labels={"vtapd.enable": "false"})
        self.each("connect", self.names[2])
        self.guest, self.plain = self.guest.start(), self.plain.start()

    def each(self, verb: str, network: str) -> None:
        for container in (self.guest, self.plain):
            container.machine.docker("network", verb, network, container.id)

    def gateway(self, daemon: Daemon) -> dict[str, str | None]:
        return {each.name: each.gateway for each in daemon.inspect(self.guest.name).interfaces if each.gateway}

    def expected(self) -> dict[str, str | None]:
        return {route["dev"]: route["gateway"] for route in defaults(self.plain, "-4")}


def defaults(container: Container, family: str) -> list[dict[str, str]]:
    entered = ["nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", "-json", family, "route", "show", "default"]
    shown: list[dict[str, str]] = json.loads(run(entered).stdout or "[]")
    return [{key: each[key] for key in ("dst", "gateway", "dev")} for each in shown]


def own_routes(container: Container) -> list[str]:
    """Return the routes that vtapd has made for itself."""
    entered = ["nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", "-o"]
    shown = "".join(run([*entered, family, "route", "show", "proto", "118"]).stdout for family in ("-4", "-6"))
    return shown.splitlines()


@pytest.fixture
def twins(vtapd: Daemon, containers: Containers) -> Twins:
    twins = Twins(containers)
    twins.guest.await_page()
    eventually(lambda: all(each.in_guest for each in vtapd.inspect(twins.guest.name).interfaces), "it has both cards")
    return twins


def test_default_gateway_follows_docker(vtapd: Daemon, twins: Twins) -> None:
    guest, qemu = twins.guest, twins.guest.qemu()
    assert twins.gateway(vtapd) == twins.expected()
    assert defaults(guest, "-4") == []
    twins.each("disconnect", twins.names[1])
    assert set(twins.expected()) == {"eth1"}
    eventually(lambda: twins.gateway(vtapd) == twins.expected(), "the default route is on eth1", PATIENCE_S)
    eventually(lambda: defaults(guest, "-4") == [], "the container itself has no way out", PATIENCE_S)
    assert guest.qemu() == qemu

    twins.each("connect", twins.names[0])
    assert set(twins.expected()) == {"eth2"}
    eventually(lambda: twins.gateway(vtapd) == twins.expected(), "the default route is on eth2", PATIENCE_S)
    vtapd.request("restart", guest.name)
    command = " ".join(vtapd.inspect(guest.name).only_guest.command)
    assert re.findall(r"--defaultgw=(\S+)", command) == list(twins.expected().values())

    vtapd.request("detach", guest.name)
    for family in ("-4", "-6"):
        assert defaults(guest, family) == defaults(twins.plain, family)
    assert own_routes(guest) == []
    assert macvtaps(guest.pid) == []


def test_default_gateway_follows_docker_without_a_daemon(vtapd: Daemon, twins: Twins) -> None:
    vtapd.kill()
    twins.each("disconnect", twins.names[1])
    vtapd.start()
    eventually(lambda: twins.gateway(vtapd) == twins.expected(), "the default route is on eth1", PATIENCE_S)
    vtapd.request("detach", twins.guest.name)
    for family in ("-4", "-6"):
        assert defaults(twins.guest, family) == defaults(twins.plain, family)


def test_default_gateway_that_docker_could_not_set_is_chosen_by_its_rule(vtapd: Daemon, twins: Twins) -> None:
    """As after an earlier version of vtapd, or in the moment of a takeover."""
    vtapd.stop()
    entered = ["nsenter", f"--net=/proc/{twins.guest.pid}/ns/net", "ip"]
    for family in ("-4", "-6"):
        run([*entered, family, "route", "flush", "proto", "118"])
    twins.each("disconnect", twins.names[1])
    assert defaults(twins.guest, "-4") == []
    vtapd.start()
    eventually(lambda: twins.gateway(vtapd) == twins.expected(), "the default route is on eth1", PATIENCE_S)
    vtapd.request("detach", twins.guest.name)
    for family in ("-4", "-6"):
        assert defaults(twins.guest, family) == defaults(twins.plain, family)
