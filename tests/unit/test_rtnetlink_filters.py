"""The messages about hooks and filters, as the kernel reads and writes them (linux/pkt_sched.h, pkt_cls.h)."""

import struct

from supervisor.core.formats.netlink import pack_attribute, unpack_attributes
from supervisor.core.formats.rtnetlink_filters import (
    EGRESS,
    INGRESS,
    PRIORITY,
    add_clsact,
    is_own,
    parse_clsact,
    parse_filter_name,
    remove_clsact,
    remove_filter,
    set_filter,
    show_filter,
    show_filters,
    show_qdiscs,
)
from supervisor.core.links import IfIndex

ETH0 = IfIndex(7)
TCMSG = struct.Struct("=BxxxiIII")


def test_hooks_are_of_the_qdisc_clsact_and_no_other() -> None:
    for request, kind in ((add_clsact(ETH0), 36), (remove_clsact(ETH0), 37)):
        assert request.kind == kind
        assert TCMSG.unpack_from(request.body) == (0, ETH0, 0xFFFF0000, 0xFFFFFFF1, 0)
        assert unpack_attributes(request.body[TCMSG.size :]) == {1: b"clsact\0"}
        assert parse_clsact(request.body) == ETH0
    ingress = TCMSG.pack(0, ETH0, 0xFFFF0000, 0xFFFFFFF1, 0) + pack_attribute(1, b"ingress\0")
    fair = TCMSG.pack(0, ETH0, 0, 0xFFFFFFFF, 0) + pack_attribute(1, b"fq_codel\0")
    assert [parse_clsact(each) for each in (ingress, fair)] == [None, None]
    assert (show_qdiscs().kind, TCMSG.unpack_from(show_qdiscs().body)) == (38, (0, 0, 0, 0, 0))


def test_filter_is_shown_as_it_was_set() -> None:
    put = set_filter(ETH0, INGRESS, 9, "vtapd-1")
    assert put.kind == 44
    assert parse_filter_name(put.body) == "vtapd-1"
    assert is_own(put.body)
    options = unpack_attributes(unpack_attributes(put.body[TCMSG.size :])[2])
    assert (options[6], options[8]) == (struct.pack("=I", 9), struct.pack("=I", 1))
    for request, kind in ((show_filter(ETH0, INGRESS), 46), (remove_filter(ETH0, INGRESS), 45)):
        assert request.kind == kind
        assert TCMSG.unpack_from(request.body) == TCMSG.unpack_from(put.body)
    assert TCMSG.unpack_from(show_filter(ETH0, EGRESS).body) != TCMSG.unpack_from(put.body)


def test_filter_of_another_program_is_not_vtapds() -> None:
    theirs = TCMSG.pack(0, ETH0, 1, EGRESS, (PRIORITY + 1) << 16) + pack_attribute(1, b"flower\0")
    assert not is_own(theirs)
    assert parse_filter_name(theirs) == ""


def test_all_filters_of_both_hooks_are_asked_for() -> None:
    asked = show_filters(ETH0)
    assert [TCMSG.unpack_from(each.body) for each in asked] == [(0, ETH0, 0, INGRESS, 0), (0, ETH0, 0, EGRESS, 0)]
