"""Guests find the services and tasks of their overlay network by name, on other nodes too."""

import json
import re
from collections.abc import Iterator
from functools import partial

import pytest

from tests.harness.waiting import eventually

from .swarm import Swarm

NETWORK, PORT, BOOT_S = "net3", 8081, 90.0
UNTOUCHED = ("--container-label", "vtapd.enable=false")


@pytest.fixture
def clean_swarm(swarm: Swarm) -> Iterator[Swarm]:
    """The swarm; asserts that nothing is left on it after the test."""
    yield swarm
    for node in swarm.nodes:
        node.await_nothing_left()


def addresses_in(answer: str) -> set[str]:
    """Return the addresses that nslookup prints, without the server's."""
    return set(re.findall(r"^Address(?: \d+)?: ([0-9a-f.:]+)$", answer.partition("\n\n")[2], re.MULTILINE))


def test_guest_finds_services_and_their_tasks_by_name(clean_swarm: Swarm) -> None:
    near, far = clean_swarm.nodes[1:3]
    clean_swarm.docker("network", "create", "--driver", "overlay", "--attachable", NETWORK)
    create = ("service", "create", "--detach", "--no-resolve-image", "--network", NETWORK)
    plain = (*UNTOUCHED, "--replicas", "2", "--constraint", f"node.id=={far.swarm_id}")
    clean_swarm.docker(*create, "--name", "db", *plain, far.machine.image)
    clean_swarm.docker(*create, "--name", "turns", "--endpoint-mode", "dnsrr", *plain, far.machine.image)
    asked = ("--constraint", f"node.id=={near.swarm_id}", "--publish", f"mode=host,published={PORT},target=80")
    clean_swarm.docker(*create, "--name", "web", "--endpoint-mode", "dnsrr", *asked, near.machine.linux_image)

    def in_guest(name: str) -> set[str]:
        url = f"http://{near.address}:{PORT}/cgi-bin/lookup?{name}"
        return addresses_in(clean_swarm.lan.get(url).body)

    eventually(partial(clean_swarm.lan.get, f"http://{near.address}:{PORT}/"), "the guest serves", BOOT_S)
    client = near.client(NETWORK)
    eventually(lambda: len(addresses_in(client.exec("nslookup", "tasks.db", check=False))) == 2, "both run", BOOT_S)
    for name in ("db", "tasks.db", "turns", "tasks.turns", "web", "tasks.web"):
        expected = addresses_in(client.exec("nslookup", name, check=False))
        assert expected, name
        assert in_guest(name) == expected, name
    endpoints = json.loads(clean_swarm.docker("service", "inspect", "-f", "{{json .Endpoint.VirtualIPs}}", "db"))
    assert in_guest("db") == {each["Addr"].partition("/")[0] for each in endpoints}
    assert in_guest("tasks.db") == {task.address_on(NETWORK) for task in far.tasks("db")}

    for service in ("web", "db", "turns"):
        clean_swarm.remove_service(service)
    near.remove_client()
    eventually(partial(clean_swarm.docker, "network", "rm", NETWORK), "the network is removed", BOOT_S)
