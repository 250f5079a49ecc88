"""Networks of containers in Docker's JSON."""

from dataclasses import replace
from typing import Any, ClassVar  # Docker's JSON

import msgspec
import pytest

from supervisor.core.container import Endpoint
from supervisor.core.formats.docker_api import parse_container
from supervisor.core.formats.docker_network import (
    EndpointShape,
    may_have_way_out,
    parse_endpoint,
    parse_mac,
    parse_way_out,
)

from .examples import ID, container

MAC = "02:42:ac:12:00:03"


@pytest.mark.parametrize("text", [MAC, MAC.upper(), MAC.replace(":", "-"), "0242.ac12.0003"])
def test_mac_in_every_form_that_docker_takes(text: str) -> None:
    assert parse_mac(text) == MAC


@pytest.mark.parametrize("text", ["", "02:42", "02:42:ac:12:00:0g", "02:42:ac:12:00:03:04:05"])
def test_what_is_no_mac(text: str) -> None:
    assert parse_mac(text) == ""


def test_addresses_are_written_as_the_kernel_does() -> None:
    data = EndpointShape(
        mac_address=MAC.upper(), global_ipv6_address="FD00:0:0::2", global_ipv6_prefix_len=64, ipv6_gateway="fd00:0::1"
    )
    assert parse_endpoint("net", data) == Endpoint("net", MAC, (("fd00::2", 64, "fd00::1"),))


@pytest.mark.parametrize("more", [{"MacAddress": "02:42:AC:12:00:03"}, {}], ids=["20.10", "28"])
def test_mac_that_was_asked_for_is_the_endpoints(more: dict[str, Any]) -> None:
    """Docker 20.10 shows `--mac-address` in the configuration, too; Docker 25 and later need not."""
    answer = {"Id": ID, "Name": "/web", "State": {}, "HostConfig": {}}
    networks = {"net": {"MacAddress": MAC, "GwPriority": 0, "DNSNames": None}}
    found, _ = parse_container({**answer, "Config": more, "NetworkSettings": {"Networks": networks}})
    assert [each.mac for each in found.endpoints] == [MAC]


class TestWayOut:
    """docker_gwbridge, which Docker does not list among a container's networks."""

    OVERLAY = Endpoint("ov", "02:42:0a:00:01:02", (("10.0.1.2", 24, ""),))
    ANSWER: ClassVar[dict[str, Any]] = {
        "Name": "docker_gwbridge",
        "IPAM": {
            "Config": [{"Subnet": "fd01::/64"}, {"Subnet": "?"}, {"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}]
        },
        "Containers": {
            ID: {"Name": "gateway_1", "MacAddress": MAC, "IPv4Address": "172.18.0.3/16", "IPv6Address": ""},
            "ingress-sbox": {"MacAddress": "02:42:ac:12:00:02", "IPv4Address": "172.18.0.2/16"},
        },
    }

    def test_only_networks_without_a_gateway_need_one(self) -> None:
        assert may_have_way_out(container(endpoints=(self.OVERLAY,)))
        bridge = Endpoint("net", MAC, (("172.18.0.3", 16, "172.18.0.1"),))
        assert not may_have_way_out(container(endpoints=(self.OVERLAY, bridge)))
        ipv6 = Endpoint("net", MAC, (("fd00::2", 64, "fd00::1"),))
        assert may_have_way_out(container(endpoints=(ipv6,)))
        for endpoints in ((), (Endpoint("none", ""),)):
            assert not may_have_way_out(container(endpoints=endpoints))

    def test_endpoint(self) -> None:
        found = parse_way_out(self.ANSWER, ID)
        assert found == Endpoint("docker_gwbridge", MAC, (("172.18.0.3", 16, "172.18.0.1"),))

    def test_address_outside_of_all_pools_has_no_gateway(self) -> None:
        found = parse_way_out({"Containers": {ID: {"MacAddress": MAC, "IPv4Address": "172.18.0.3/16"}}}, ID)
        assert found == Endpoint("docker_gwbridge", MAC, (("172.18.0.3", 16, ""),))

    @pytest.mark.parametrize("answer", [{}, {"Containers": None}, {"Containers": {}}])
    def test_none(self, answer: object) -> None:
        assert parse_way_out(answer, ID) is None

    def test_what_is_not_understood(self) -> None:
        with pytest.raises(msgspec.ValidationError):
            parse_way_out({"Containers": [1]}, ID)


def test_network_without_an_interface() -> None:
    assert not Endpoint("host", "").has_interface
    assert replace(TestWayOut.OVERLAY, mac="", addresses=()).has_interface
