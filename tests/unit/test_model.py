import dataclasses

import pytest

from supervisor.core.container import short_id
from supervisor.core.links import Address, DeviceNumber, Route
from supervisor.core.record import Record, TapRecord

from .examples import ETH0, ID, record


def test_short_id_is_that_of_docker_ps() -> None:
    assert short_id(ID) == "c0ffee000000"


def test_device_numbers_and_addresses_are_formatted() -> None:
    assert str(DeviceNumber(246, 17)) == "246:17"
    assert str(Address(4, "172.17.0.2", 16)) == "172.17.0.2/16"


def test_gateway_is_that_of_the_default_route_with_the_lowest_metric() -> None:
    routes = (
        Route(4, "", 0, "172.17.0.9", metric=100),
        Route(4, "", 0, "172.17.0.1"),
        Route(4, "10.0.0.0", 8, "172.17.0.3"),
        Route(6, "", 0, "fe80::1"),
    )
    interface = dataclasses.replace(ETH0, routes=routes)
    assert interface.gateway(4) == "172.17.0.1"
    assert interface.gateway(6) == "fe80::1"


def test_default_route_without_gateway_gives_none() -> None:
    assert dataclasses.replace(ETH0, routes=(Route(4, "", 0),)).gateway() is None
    assert dataclasses.replace(ETH0, routes=()).gateway() is None


def test_record_finds_its_tap_by_interface() -> None:
    entry = TapRecord(0, "eth0", "vtap110002")
    noted = dataclasses.replace(record(), taps=(entry,))
    assert noted.tap_of("eth0") == entry
    assert noted.tap_of("eth1") is None


def test_records_are_immutable() -> None:
    noted: Record = record()
    with pytest.raises(dataclasses.FrozenInstanceError):
        noted.name = "other"  # type: ignore[misc]  # that it cannot be is the test
