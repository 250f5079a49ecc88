"""A task's second card, by which published ports and the way out go; and the README's stack file."""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.harness.waiting import eventually

from . import recipe
from .swarm import Swarm

PORT, BOOT_S = 8080, 90.0


@pytest.fixture
def swept(swarm: Swarm) -> Iterator[Swarm]:
    """The swarm, on which nothing is left after the test."""
    yield swarm
    for node in swarm.nodes:
        node.await_nothing_left()


def test_a_port_of_the_node_reaches_a_guest_whose_answer_goes_out_by_its_second_card(swept: Swarm) -> None:
    node = swept.nodes[1]
    asked = ("--constraint", f"node.id=={node.swarm_id}", "--publish", f"mode=host,published={PORT},target=80")
    swept.docker("network", "create", "--driver", "overlay", "net2")
    network = ("--network", "net2", "--endpoint-mode", "dnsrr")
    image = node.machine.linux_image
    swept.docker("service", "create", "--detach", "--name", "web", *network, *asked, "--no-resolve-image", image)
    page = eventually(lambda: swept.lan.get(f"http://{node.address}:{PORT}/"), "the LAN sees its page", BOOT_S)
    assert "Hello from Linux" in page.body
    (task,) = node.tasks("web")
    overlay, gateway = node.daemon.inspect(task.name).interfaces
    assert (overlay.gateway, bool(gateway.gateway)) == (None, True)
    swept.remove_service("web")
    eventually(partial(swept.docker, "network", "rm", "net2"), "its network is let go of", BOOT_S)


def test_the_stack_file(swept: Swarm) -> None:
    for node in swept.nodes:
        node.machine.docker("tag", node.machine.image, recipe.IMAGE)
    file = swept.manager.machine.home / "stack.yml"
    file.write_text(recipe.stack())
    swept.shell(f"docker stack deploy --resolve-image never --compose-file {file} demo")
    swept.await_ready("demo_app", 2)
    swept.shell("docker stack rm demo")
