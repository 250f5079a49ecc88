"""A container without vtapd labels is attached as soon as it has started, before Docker answers about it."""

from functools import partial

import pytest

from tests.harness.chain import assert_attached
from tests.harness.containers import Container, Containers
from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import Daemon
from tests.harness.docker_proxy import DockerProxy
from tests.harness.observe import macvtaps, netns_links
from tests.harness.waiting import eventually, holds_for

pytestmark = pytest.mark.both_cgroups

ANSWERS_WITHIN = "30s"
LOOKED_AT_S = 0.5
CONFIRMED_S = 15.0


@pytest.fixture
def daemon(current_daemon: CurrentDaemon, containers: Containers, proxy: DockerProxy) -> Daemon:
    """A daemon that has seen a container, and so knows where cgroups lie; after that, Docker no longer answers."""
    daemon = current_daemon.get({"docker": {"host": proxy.host, "timeout": ANSWERS_WITHIN}})
    eventually(proxy.is_followed, "the daemon follows the events of Docker")
    first = containers.run().await_attached()
    eventually(lambda: is_confirmed(proxy, first), "the container is inspected")
    proxy.hangs = True
    return daemon


def is_confirmed(proxy: DockerProxy, container: Container) -> bool:
    return not proxy.hangs and proxy.count(f"/containers/{container.id}/json") > 0


def test_attach_does_not_wait_for_docker(daemon: Daemon, containers: Containers, proxy: DockerProxy) -> None:
    container = containers.run().await_attached()
    assert_attached(container)
    view = daemon.inspect(container.name)
    assert (view.state, view.name) == ("attached", container.name)
    (eth0,) = view.interfaces
    assert (eth0.gateway, eth0.mac) == (container.endpoint.gateway, container.endpoint.mac)
    proxy.hangs = False
    eventually(
        lambda: is_confirmed(proxy, container), "the container is inspected when Docker answers again", CONFIRMED_S
    )
    assert_attached(container)
    container.stop()
    eventually(lambda: container.id12 not in netns_links(), "everything is undone")


def test_container_whose_init_has_children_at_once_is_attached(daemon: Daemon, containers: Containers) -> None:
    del daemon  # the fixture starts it
    script = "sleep 1000 & sleep 1001 & sleep 1002 & wait"
    assert_attached(containers.run("--entrypoint", "sh", command=("-c", script)).await_attached())


def test_bridge_that_is_made_at_once_gets_nothing(daemon: Daemon, containers: Containers, proxy: DockerProxy) -> None:
    """Neither before Docker has told which interfaces are its own, nor afterwards."""
    del daemon  # the fixture starts it
    script = "ip link add br0 type bridge && ip address add 10.88.0.1/24 dev br0 && exec sleep 1000"
    made = ("--cap-add", "NET_ADMIN", "--entrypoint", "sh")
    container = containers.run(*made, command=("-c", script)).await_attached()
    eventually(lambda: "br0" in container.links(), "the bridge is made")
    names = [container.tap_name]
    holds_for(lambda: [tap.name for tap in macvtaps(container.pid)] == names, "only eth0 has a tap", LOOKED_AT_S)
    assert_attached(container)
    proxy.hangs = False
    eventually(lambda: is_confirmed(proxy, container), "the container is inspected", CONFIRMED_S)
    holds_for(lambda: [tap.name for tap in macvtaps(container.pid)] == names, "only eth0 has a tap", LOOKED_AT_S)


def test_many_containers_started_together_are_each_inspected_once(
    daemon: Daemon, containers: Containers, proxy: DockerProxy
) -> None:
    made = [containers.create() for _ in range(8)]
    made[0].machine.docker("start", *(each.id for each in made))
    for each in made:
        assert_attached(each.await_attached())
    proxy.hangs = False
    for each in made:
        eventually(partial(is_confirmed, proxy, each), f"{each.name} is inspected", CONFIRMED_S)
        assert proxy.count(f"/containers/{each.id}/json") == 1, "the container is inspected more than once"


def test_container_with_labels_or_shared_network_waits_for_docker(
    daemon: Daemon, containers: Containers, proxy: DockerProxy
) -> None:
    """One has a label; the others have no network of their own."""
    owner = containers.made[0]
    before = owner.links()
    labelled = containers.run(labels={"vtapd.enable": "true"})
    others = [containers.run("--network", mode) for mode in ("host", "none", f"container:{owner.name}")]
    holds_for(lambda: labelled.is_untouched() and owner.links() == before, "nothing is changed", LOOKED_AT_S)
    assert not {each.id12 for each in others} & set(netns_links())
    proxy.hangs = False
    labelled.await_attached(CONFIRMED_S)
    for each in others:
        daemon.await_state(each.name, "skipped")
        assert each.id12 not in netns_links()
    steps = [line for line in daemon.log_lines() if line.get("event") == "step_done"]
    assert not [line for line in steps if line["container"] in {each.name for each in others}]


def test_container_that_ends_before_docker_answers_is_cleaned_up(
    daemon: Daemon, containers: Containers, proxy: DockerProxy
) -> None:
    container = containers.run().await_attached()
    container.machine.docker("kill", container.id)
    proxy.hangs = False
    eventually(lambda: container.id12 not in netns_links(), "nothing is left of it", CONFIRMED_S)
    eventually(
        lambda: container.id not in {each.id for each in daemon.ps()}, "the daemon has forgotten it", CONFIRMED_S
    )
