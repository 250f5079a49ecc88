"""The traffic counters of /proc/net/dev."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.formats.net_dev import Traffic, parse_net_dev

TABLE = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  259276     654    0    0    0     0          0         0   259276     654    0    0    0     0       0          0
vtap110002:2916044464 74324 1 2    3     4          5         6 4243738   41027    7    8    9    10      11         12
  eth0:       5       6    0    0    0     0          0         0        7       8    0    0    0     0       0          0
"""  # noqa: E501  # as the kernel writes it


def test_requested_links_are_returned() -> None:
    assert parse_net_dev(TABLE, ["vtap110002", "eth0", "gone"]) == {
        "vtap110002": Traffic(rx_bytes=2916044464, rx_packets=74324, tx_bytes=4243738, tx_packets=41027),
        "eth0": Traffic(5, 6, 7, 8),
    }


def test_part_of_a_name_does_not_match() -> None:
    assert parse_net_dev(TABLE, ["vtap11000", "eth", "", " face |bytes    packets errs drop"]) == {}


@pytest.mark.parametrize("end", ["\x1c", "\x85", "\u2028"])
def test_unicode_line_end_in_a_name_starts_no_line(end: str) -> None:
    forged = TABLE.replace("vtap110002", f"x{end}vtap110002")
    assert parse_net_dev(forged, ["vtap110002"]) == {}


@given(st.integers(0, len(TABLE)))
def test_truncated_table_gives_its_whole_lines(length: int) -> None:
    whole, cut = parse_net_dev(TABLE, ["lo", "vtap110002"]), parse_net_dev(TABLE[:length], ["lo", "vtap110002"])
    assert cut.items() <= whole.items()
