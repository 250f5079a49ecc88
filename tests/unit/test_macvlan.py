"""The modes of macvlans: what the kernel shows is what is set, and strange bytes show none."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.formats.macvlan import BRIDGE, IN_BRIDGE, PRIVATE, SOURCE, name_of, pack_mode, parse_mode
from supervisor.core.formats.netlink import unpack_attributes
from supervisor.core.links import MacvlanMode

SENDERS = ("02:00:00:00:00:02", "02:00:00:00:00:03")


@pytest.mark.parametrize(
    "mode", [IN_BRIDGE, MacvlanMode(PRIVATE), MacvlanMode(SOURCE), MacvlanMode(SOURCE, SENDERS, nodst=True)]
)
def test_mode_is_parsed_as_it_is_packed(mode: MacvlanMode) -> None:
    assert parse_mode(unpack_attributes(pack_mode(mode))) == mode


def test_names_are_those_of_ip() -> None:
    assert (name_of(MacvlanMode(BRIDGE)), name_of(MacvlanMode(PRIVATE)), name_of(MacvlanMode(99))) == (
        "bridge",
        "private",
        "99",
    )


def test_flags_of_another_size_are_ignored() -> None:
    assert parse_mode({1: struct.pack("=I", SOURCE), 2: b"\2"}) == MacvlanMode(SOURCE)


@given(st.dictionaries(st.integers(0, 9), st.binary(max_size=12)))
def test_any_attributes_are_parsed(data: dict[int, bytes]) -> None:
    mode = parse_mode(data)
    assert mode is None or len(data[1]) == 4
