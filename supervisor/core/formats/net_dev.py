"""Parse /proc/<pid>/net/dev: the traffic of every interface of a network namespace."""

from collections.abc import Collection
from dataclasses import dataclass

_RX_BYTES, _RX_PACKETS, _TX_BYTES, _TX_PACKETS = 0, 1, 8, 9
_FIELDS = 16


@dataclass(frozen=True, slots=True)
class Traffic:
    """Counted since the interface was created. For a macvtap, rx is what the guest receives."""

    rx_bytes: int
    rx_packets: int
    tx_bytes: int
    tx_packets: int


def parse_net_dev(text: str, names: Collection[str]) -> dict[str, Traffic]:
    """Of these interfaces, those that are there (net/core/net-procfs.c, dev_seq_printf_stats).

    Names are the container's own choice: any bytes but a colon and what C calls a space, so Python's further line ends.
    """
    found = {}
    for line in text.split("\n"):
        padded, _, rest = line.partition(":")
        name, fields = padded.strip(" "), rest.split()
        if name in names and len(fields) == _FIELDS:
            counts = [int(fields[index]) for index in (_RX_BYTES, _RX_PACKETS, _TX_BYTES, _TX_PACKETS)]
            found[name] = Traffic(*counts)
    return found
