"""Each change of a network is noticed, with a real kernel: what is not noticed, a resync would not look at."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from supervisor.core.attach.actions import RemoveWakeFilter, SetWakeFilter
from supervisor.core.devices.wake_program import Wakers
from supervisor.core.links import DeviceNumber, Tap
from supervisor.edges.kernel.links import Links
from supervisor.edges.kernel.network_changes import NetworkChanges
from tests.harness.netns import NetworkNamespace
from tests.harness.processes import run
from tests.harness.waiting import eventually

from .test_kernel_network import open_rtnetlink

Ip = Callable[[str], None]
PREPARED = (
    "link set lo up",
    "link add eth0 type veth peer name lan0",
    "link set eth0 up addrgenmode none",
    "link set lan0 up addrgenmode none",
    "link add vtap0 link eth0 type macvtap mode bridge",
    "addr add 10.9.0.2/24 dev eth0",
    "addr add 2001:db8::2/64 dev eth0 nodad",
)
CHANGES = (
    "link set vtap0 up",
    "link set eth0 mtu 1400",
    "link set eth0 address 02:00:00:00:00:07",
    "link set vtap0 name vtap1",
    "link del vtap0",
    "link set eth0 down",
    "addr add 169.254.1.1/32 dev lo",
    "addr del 10.9.0.2/24 dev eth0",
    "addr add 2001:db8::3/64 dev eth0 nodad",
    "addr del 2001:db8::2/64 dev eth0",
    "route add 10.8.0.0/16 via 10.9.0.1",
    "route del 10.9.0.0/24 dev eth0",
    "route add 2001:db8:1::/64 via 2001:db8::1",
    "route del 2001:db8::/64 dev eth0",
    "nexthop add id 5 dev eth0",
    "neigh add 10.9.0.9 lladdr 02:00:00:00:00:01 dev eth0 nud permanent",
)


@pytest.fixture
def namespace() -> Iterator[NetworkNamespace]:
    with closing(NetworkNamespace()) as made:
        yield made


@pytest.fixture
def ip(namespace: NetworkNamespace) -> Ip:
    def called(words: str) -> None:
        run(["nsenter", f"--net=/proc/self/fd/{namespace.fd}", "ip", *words.split()], pass_fds=(namespace.fd,))

    for words in PREPARED:
        called(words)
    return called


@pytest.fixture
def changes(namespace: NetworkNamespace, ip: Ip) -> Iterator[NetworkChanges]:
    with closing(NetworkChanges(namespace.inside(open_rtnetlink))) as made:
        await_quiet(made)
        yield made


def await_quiet(changes: NetworkChanges) -> None:
    eventually(lambda: not changes.happened(), "the network changes no more")


@pytest.mark.parametrize("words", CHANGES)
def test_change_is_noticed_once(ip: Ip, changes: NetworkChanges, words: str) -> None:
    ip(words)
    eventually(changes.happened, "the kernel reports the change")
    await_quiet(changes)


def test_neighbour_that_is_removed_is_noticed(ip: Ip, changes: NetworkChanges) -> None:
    ip("neigh add 10.9.0.9 lladdr 02:00:00:00:00:01 dev eth0 nud permanent")
    await_quiet(changes)
    ip("neigh del 10.9.0.9 dev eth0")
    assert changes.happened()


def test_more_changes_than_the_socket_holds_are_noticed(ip: Ip, changes: NetworkChanges) -> None:
    for number in range(100):
        ip(f"addr add 10.10.{number}.1/24 dev eth0")
    assert changes.happened()
    await_quiet(changes)
    ip("addr add 10.11.0.1/24 dev eth0")
    assert changes.happened()


@pytest.mark.parametrize("linked", [True, False], ids=["filter", "hooks"])
def test_filters_are_noticed(namespace: NetworkNamespace, changes: NetworkChanges, linked: bool) -> None:
    with closing(Links(namespace.inside(open_rtnetlink))) as links:
        found = next(each for each in links.observe(with_routes=False, now_s=0.0).links if each.name == "vtap0")
        tap = Tap("vtap0", found.index, found.mac, found.mtu, True, DeviceNumber(0, 0))
        links.set_wake_filter(SetWakeFilter(tap, Wakers(("10.9.0.2",), keeps_state=False)))
        assert changes.happened()
        await_quiet(changes)
        links.set_wake_filter(SetWakeFilter(tap, Wakers(("10.9.0.3",), keeps_state=False)))
        assert changes.happened()
        await_quiet(changes)
        links.observe(with_routes=True, now_s=0.0)
        links.observe_wake_filter(tap.index)
        assert links.observe_hooks(found.index, None).clsact
        assert not changes.happened(), "to look is a change"
        links.remove_wake_filter(RemoveWakeFilter(tap, linked))
        assert changes.happened()
