"""What a guest is given by DHCP."""

from dataclasses import replace

from supervisor.core.formats.dhcp import ANY, Lease
from supervisor.core.guest.leases import lease_of
from supervisor.core.kinds.network import GuestNetwork, Nic
from supervisor.core.links import Address, Route

SERVER, MAC = "169.254.118.1", "02:42:ac:12:00:02"
NIC = Nic(0, MAC, 1450, (Address(4, "172.18.0.2", 16), Address(6, "fd00::2", 64)), "172.18.0.1")
OTHER = Nic(1, "02:42:0a:00:00:02", 1500, (Address(6, "fd01::2", 64),))
NETWORK = GuestNetwork((OTHER, NIC), "web", (SERVER, "fd00::53"), "example.com")


def test_lease_has_what_the_container_had() -> None:
    lease = Lease("172.18.0.2", 16, SERVER, 1450, "172.18.0.1", (), (SERVER,), "example.com", "web")
    assert lease_of(NETWORK, MAC, SERVER) == lease
    named = replace(NETWORK, domain="lan", hostname="-x-")
    assert lease_of(named, MAC, SERVER) == replace(lease, domain="lan", hostname="")


def test_lease_has_the_routes_that_the_container_had() -> None:
    routes = (Route(4, "10.1.0.0", 16, "172.18.0.9"), Route(4, "10.2.0.0", 16), Route(6, "fd02::", 64, "fd00::9"))
    lease = lease_of(replace(NETWORK, nics=(replace(NIC, routes=routes),)), MAC, SERVER)
    assert lease is not None
    assert lease.routes == (("10.1.0.0", 16, "172.18.0.9"), ("10.2.0.0", 16, ANY))


def test_card_without_an_ipv4_address_gets_no_lease() -> None:
    assert lease_of(NETWORK, OTHER.mac, SERVER) is None
    assert lease_of(NETWORK, "02:00:00:00:00:00", SERVER) is None
