"""The documented service on three nodes, through everything that Swarm does to one; the last test loses a node."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest

from tests.harness.observe import qemus_of
from tests.harness.waiting import eventually

from . import recipe
from .node import Node, Task
from .sockets import tcp_addresses_of
from .swarm import Swarm
from .watch import Watch

APP, NETWORK, REPLICAS = "app", "net1", 6
GREETING = "Hiya, Gump!"
DNSRR = ("--endpoint-mode", "dnsrr")
OVERLAY_MTU = 1450
SOON_S, LATER_S = 30.0, 90.0
SYNC_S = 120.0
"""A node that was cut off may learn new addresses only when Docker's nodes compare all that they know. Each does so
every 30 s, with one of the others (memberlist's PushPullInterval)."""


@pytest.fixture(scope="module")
def app(swarm: Swarm) -> Iterator[Swarm]:
    """The swarm with the documented service on it, and a client on each node."""
    for node in swarm.nodes:
        node.machine.docker("tag", node.machine.image, recipe.IMAGE)
    for command in recipe.commands():
        swarm.shell(command)
    for node in swarm.nodes:
        node.client(NETWORK)  # start it now, since a drained node takes no containers
    yield swarm
    swarm.remove_service(APP)
    for node in swarm.nodes:
        node.await_nothing_left()
        node.remove_client()


def prove_reached(swarm: Swarm, tasks: list[Task], deadline_s: float = SOON_S) -> None:
    """Reach each guest from a container on each node, so also over the overlay network."""
    addresses = [task.address_on(NETWORK) for task in tasks]
    for client in (node.client(NETWORK) for node in swarm.nodes):
        for address in addresses:
            page = eventually(partial(client.fetch, address), f"{address} answers {client.name}", deadline_s)
            assert GREETING in page


def names_of(swarm: Swarm, service: str) -> list[set[str]]:
    """Return the addresses of a service's name for the client on each node."""
    shown = [node.client(NETWORK).exec("nslookup", service, check=False) for node in swarm.nodes]
    return [set(re.findall(r"^Address:\s*([\d.]+)$", text, re.MULTILINE)) for text in shown]


def test_guests_are_spread_and_reached_from_every_node(app: Swarm) -> None:
    tasks = app.await_ready(APP, REPLICAS)
    assert set(Counter(task.node.number for task in tasks).values()) == {REPLICAS // len(app.nodes)}
    prove_reached(app, tasks)
    for task in tasks:
        overlay, gateway = task.node.daemon.inspect(task.name).interfaces
        assert (overlay.mtu, overlay.gateway, overlay.in_guest) == (OVERLAY_MTU, None, True)
        assert (gateway.mtu, bool(gateway.gateway), gateway.in_guest) == (1500, True, True)
        shown = app.manager.client(NETWORK).fetch(task.address_on(NETWORK), "/info")
        assert f'"mtu":{OVERLAY_MTU},' in shown


def test_service_name_has_the_guests_addresses_on_every_node(app: Swarm) -> None:
    addresses = {task.address_on(NETWORK) for task in app.await_ready(APP, REPLICAS)}
    eventually(lambda: all(each == addresses for each in names_of(app, APP)), f"{APP} is {addresses}", SOON_S)


def test_daemons_do_not_connect_to_each_other(app: Swarm) -> None:
    """So what a daemon does and stores does not grow with the number of nodes."""
    for node in app.nodes:
        assert tcp_addresses_of(node.daemon.pid) == {"127.0.0.1"}, "a daemon has a connection to another machine"


def test_a_guest_always_answers_during_an_update(app: Swarm) -> None:
    before = {task.id for task in app.await_ready(APP, REPLICAS)}
    with Watch(app.nodes[-1].client(NETWORK), APP) as watch:
        change = ("--container-label-add", "vtapd.args=second", "--update-parallelism", "2")
        app.docker("service", "update", "--detach", *change, APP)
        eventually(lambda: app.update_state(APP) == "completed", "the update is done", LATER_S)
        seen = watch.prove_always_served()
    print(f"rolling update of {REPLICAS} guests: {seen}")
    after = app.await_ready(APP, REPLICAS)
    assert not before & {task.id for task in after}
    for task in after:
        assert '"cmdline":"second"' in app.manager.client(NETWORK).fetch(task.address_on(NETWORK), "/info")


def test_update_to_a_guest_that_never_gets_ready_is_rolled_back(app: Swarm) -> None:
    before = {task.id for task in app.await_ready(APP, REPLICAS)}
    quick = ("--health-interval", "500ms", "--health-retries", "2", "--health-start-period", "1s")
    change = ("--container-label-add", "vtapd.kernel=/none", "--update-failure-action", "rollback", *quick)
    app.docker("service", "update", "--detach", *change, APP)
    eventually(lambda: app.update_state(APP) == "rollback_completed", "the update is rolled back", LATER_S)
    after = app.await_ready(APP, REPLICAS)
    assert len(before & {task.id for task in after}) >= REPLICAS - 1, "other tasks were replaced, too"
    prove_reached(app, after)


def test_guest_that_failed_for_good_is_replaced_by_a_new_task(app: Swarm) -> None:
    """Until then the service's name does not have its address."""
    labels = (f"vtapd.{each}" for each in ("kernel=/hello.bin", "ready=tcp:80", "restart=no"))
    asked = (word for label in labels for word in ("--container-label", label))
    app.docker("service", "create", "--detach", "--name", "frail", "--network", NETWORK, *asked, *DNSRR, recipe.IMAGE)
    (failing,) = app.await_ready("frail", 1)
    with suppress(OSError):  # it may crash before it has answered
        app.manager.client(NETWORK).fetch(failing.address_on(NETWORK), "/crash")
    eventually(
        lambda: failing.id not in {task.id for task in app.tasks("frail")}, "the failed guest's task has ended", SOON_S
    )
    (successor,) = app.await_ready("frail", 1)
    eventually(
        lambda: set.union(*names_of(app, "frail")) == {successor.address_on(NETWORK)},
        "the name has the new address",
        SOON_S,
    )
    assert not qemus_of(failing.id)
    app.remove_service("frail")


def test_scale_up_and_down(app: Swarm) -> None:
    app.docker("service", "scale", "--detach", f"{APP}=9")
    prove_reached(app, app.await_ready(APP, 9))
    app.docker("service", "scale", "--detach", f"{APP}=3")
    few = app.await_ready(APP, 3)
    addresses = {task.address_on(NETWORK) for task in few}
    eventually(lambda: all(each == addresses for each in names_of(app, APP)), f"{APP} is {addresses}", SOON_S)
    app.docker("service", "scale", "--detach", f"{APP}={REPLICAS}")
    app.await_ready(APP, REPLICAS)


def test_drained_node_keeps_nothing(app: Swarm) -> None:
    node = app.nodes[1]
    app.docker("node", "update", "--availability", "drain", node.swarm_id)
    node.await_nothing_left()
    prove_reached(app, app.await_ready(APP, REPLICAS))
    app.docker("node", "update", "--availability", "active", node.swarm_id)


def elsewhere(swarm: Swarm, node: Node) -> list[Task]:
    return [task for task in swarm.ready_tasks(APP) if task.node is not node]


def test_reconnected_node_gives_up_its_guests(app: Swarm) -> None:
    """While it is disconnected it keeps them, as Swarm intends, and the other nodes run as many more."""
    tasks = app.await_ready(APP, REPLICAS)
    node = next(task.node for task in tasks if task.node is not app.manager)
    kept = {task.id for task in tasks if task.node is node}
    app.lan.set_cable(node.number, connected=False)
    eventually(lambda: app.status_of(node) == "down", "Swarm has noticed the lost node", LATER_S)
    eventually(
        lambda: len([task for task in app.ready_tasks(APP) if task.node is not node]) == REPLICAS,
        "the others run all replicas",
        LATER_S,
    )
    assert kept == {task.id for task in node.tasks(APP)} != set()
    app.lan.set_cable(node.number, connected=True)
    node.await_nothing_left()
    prove_reached(app, app.await_ready(APP, REPLICAS), SYNC_S)


def test_guests_of_a_lost_node_start_on_the_others(app: Swarm) -> None:
    node = next(task.node for task in app.await_ready(APP, REPLICAS) if task.node is not app.manager)
    app.lose(node)
    eventually(lambda: app.status_of(node) == "down", "Swarm has noticed the lost node", LATER_S)
    prove_reached(app, app.await_ready(APP, REPLICAS))
