"""A task's second card, for published ports and traffic to the outside; and the stack file."""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.harness.waiting import eventually

from . import recipe
from .swarm import Swarm

PORT, BOOT_S = 8080, 90.0


@pytest.fixture
def clean_swarm(swarm: Swarm) -> Iterator[Swarm]:
    """The swarm; asserts that nothing is left on it after the test."""
    yield swarm
    for node in swarm.nodes:
        node.await_nothing_left()


def test_published_port_of_a_node_reaches_a_guest_with_two_cards(clean_swarm: Swarm) -> None:
    node = clean_swarm.nodes[1]
    asked = ("--constraint", f"node.id=={node.swarm_id}", "--publish", f"mode=host,published={PORT},target=80")
    clean_swarm.docker("network", "create", "--driver", "overlay", "net2")
    network = ("--network", "net2", "--endpoint-mode", "dnsrr")
    image = node.machine.linux_image
    clean_swarm.docker("service", "create", "--detach", "--name", "web", *network, *asked, "--no-resolve-image", image)
    page = eventually(
        lambda: clean_swarm.lan.get(f"http://{node.address}:{PORT}/"), "the page is reached from the LAN", BOOT_S
    )
    assert "Hello from Linux" in page.body
    (task,) = node.tasks("web")
    overlay, gateway = node.daemon.inspect(task.name).interfaces
    assert (overlay.gateway, bool(gateway.gateway)) == (None, True)
    clean_swarm.remove_service("web")
    eventually(partial(clean_swarm.docker, "network", "rm", "net2"), "the network is removed", BOOT_S)


def test_stack_file_of_the_manual_page_works(clean_swarm: Swarm) -> None:
    for node in clean_swarm.nodes:
        node.machine.docker("tag", node.machine.image, recipe.IMAGE)
    file = clean_swarm.manager.machine.home / "stack.yml"
    file.write_text(recipe.stack())
    clean_swarm.shell(f"docker stack deploy --resolve-image never --compose-file {file} demo")
    clean_swarm.await_ready("demo_app", 2)
    clean_swarm.shell("docker stack rm demo")
