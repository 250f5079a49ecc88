"""The edges of links, addresses and routes with a real kernel, in a network namespace of their own."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from supervisor.core.links import Interface
from supervisor.edges.kernel.links import SIBLING, Links
from supervisor.errors import Permanent, Transient
from tests.harness.netns import NetworkNamespace
from tests.harness.processes import run

Ip = Callable[..., str]


@pytest.fixture
def namespace() -> Iterator[NetworkNamespace]:
    with closing(NetworkNamespace()) as made:
        yield made


@pytest.fixture
def ip(namespace: NetworkNamespace) -> Ip:
    """Run ip(8) in the namespace, and return what it prints."""

    def called(*words: str, check: bool = True) -> str:
        entered = ["nsenter", f"--net=/proc/self/fd/{namespace.fd}", "ip", *words]
        return run(entered, pass_fds=(namespace.fd,), check=check).stdout

    called("link", "set", "lo", "up")
    called("link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
    return called


@pytest.fixture
def links(namespace: NetworkNamespace) -> Iterator[Links]:
    with closing(Links(namespace.inside(open_rtnetlink))) as made:
        yield made


def open_rtnetlink() -> int:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE).detach()


def interface(links: Links, name: str) -> Interface:
    found = links.observe(with_routes=True, now_s=0.0).interfaces
    return next(each for each in found if each.name == name)


MODES = {
    "private": "mode private",
    "vepa": "mode vepa",
    "bridge": "mode bridge",
    "source": "mode source nodst",
}


@pytest.mark.parametrize("mode", MODES)
def test_macvtap_has_the_mode_of_its_macvlan(ip: Ip, links: Links, mode: str) -> None:
    ip("link", "add", "eth0", "link", "lan0", "type", "macvlan", "mode", mode, *(["nodst"] if mode == "source" else []))
    senders = "02:00:00:00:00:02", "02:00:00:00:00:03"
    if mode == "source":
        ip("link", "set", "eth0", "type", "macvlan", "macaddr", "set", *senders)
    links.create_macvtap("vtap0", interface(links, "eth0"), "02:00:00:00:00:09")
    shown = ip("-d", "link", "show", "vtap0")
    assert MODES[mode] in shown
    assert all((sender in shown) == (mode == "source") for sender in senders)


def test_passthru_macvlan_is_refused_with_the_reason(ip: Ip, links: Links) -> None:
    ip("link", "add", "eth0", "link", "lan0", "type", "macvlan", "mode", "passthru")
    with pytest.raises(Permanent, match="eth0 is a macvlan in passthru mode"):
        links.create_macvtap("vtap0", interface(links, "eth0"), "02:00:00:00:00:09")
    assert "vtap0" not in ip("link")


def test_link_of_the_container_that_has_the_probes_name_stays(ip: Ip, links: Links) -> None:
    """Only a macvlan with the MAC that it was made with is deleted again."""
    parent, mac = interface(links, "lan0"), "02:00:00:00:00:09"
    assert links.create_sibling(parent, mac).mac == mac
    links.delete_sibling(mac)
    ip("link", "add", SIBLING, "link", "lan0", "type", "macvlan", "mode", "bridge")
    with pytest.raises(Transient, match="a link vtapask of its own"):
        links.create_sibling(parent, mac)
    links.delete_sibling(mac)
    assert "state DOWN" in ip("link", "show", SIBLING)
