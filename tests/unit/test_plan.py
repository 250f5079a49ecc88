"""Plans as one would tell them, step by step, and the single decisions behind them."""

from dataclasses import replace

import pytest

from supervisor.core.attach.actions import (
    Action,
    AllowDevice,
    CreateTap,
    DeleteRecord,
    DeleteTap,
    DenyDevice,
    GiveBack,
    LinkNetns,
    MakeNode,
    MarkReady,
    PlugNic,
    RaiseTap,
    RemoveNode,
    RevokeDevice,
    StartGuest,
    StopGuest,
    TakeOver,
    UnlinkNetns,
    UnmarkReady,
    UnplugNic,
    Uplink,
    WriteRecord,
)
from supervisor.core.attach.plan import (
    Desired,
    Seen,
    SeenInterface,
    has_card,
    is_attached,
    is_taken,
    next_action,
    tap_name,
)
from supervisor.core.kinds.kind import MANY_CARDS as MANY
from supervisor.core.model import Address, DeviceNumber, IfIndex, Incarnation, Interface, Pid, Record, TapRecord

from .disturbances import (
    delete_tap,
    end_container,
    end_guest,
    lose_neighbours_tap,
    lose_rules,
    rename_interface,
    restart_container,
)
from .invariants import check_reached, is_taken_over
from .things import DEVICE, ETH0, ETH1, ID, INCARNATION, NAME, TAP0, record
from .world import Guest, World

NOTHING, TAP = Desired(False), Desired(True)
BACKOFF, SERVED = Desired(True, takeover=True, cards=MANY), Desired(True, takeover=True, cards=MANY, guest=True)
READY = replace(SERVED, ready=True)
HOTPLUG, OWN_ADDRESS = replace(SERVED, hotplug=True), Desired(True, guest=True, cards=MANY)

ATTACH_ONE = [CreateTap, WriteRecord, RaiseTap, AllowDevice, MakeNode]
DETACH_ONE = [RemoveNode, DenyDevice, DeleteTap, WriteRecord]


def names(actions: list[Action]) -> list[type]:
    return [type(action) for action in actions]


def world(*interfaces: Interface, at: Desired = NOTHING) -> World:
    made = World({each.name: each for each in interfaces or (ETH0,)})
    made.converge(at)
    return made


class TestFromStartToEnd:
    def test_attach(self) -> None:
        assert names(world().converge(TAP)) == [WriteRecord, LinkNetns, *ATTACH_ONE]

    def test_attach_two_interfaces(self) -> None:
        assert names(world(ETH0, ETH1).converge(TAP)) == [WriteRecord, LinkNetns, *ATTACH_ONE, *ATTACH_ONE]

    def test_serve_a_guest(self) -> None:
        assert names(world(at=TAP).converge(SERVED)) == [WriteRecord, TakeOver, StartGuest]

    def test_detach(self) -> None:
        assert names(world(at=TAP).converge(NOTHING)) == [*DETACH_ONE, UnlinkNetns, DeleteRecord]

    def test_detach_with_a_guest_undoes_in_reverse(self) -> None:
        undone = names(world(ETH0, ETH1, at=SERVED).converge(NOTHING))
        each = [GiveBack, WriteRecord, *DETACH_ONE]
        assert undone == [StopGuest, *each, *each, UnlinkNetns, DeleteRecord]

    def test_a_guest_has_all_interfaces(self) -> None:
        there = world(ETH0, ETH1, at=TAP)
        assert names(there.converge(SERVED)) == [WriteRecord, TakeOver, WriteRecord, TakeOver, StartGuest]
        assert there.guest is not None
        assert [nic.original for nic in there.guest.nics.values()] == [ETH0, ETH1]

    def test_a_guest_with_an_address_of_its_own_leaves_the_containers(self) -> None:
        assert names(world(at=TAP).converge(OWN_ADDRESS)) == [StartGuest]

    def test_a_guest_that_was_started_for_other_addresses_is_started_anew(self) -> None:
        there = world(at=SERVED)
        assert names(there.converge(OWN_ADDRESS)) == [StopGuest, GiveBack, WriteRecord, StartGuest]
        check_reached(there, OWN_ADDRESS)

    def test_a_guest_in_backoff_keeps_its_address(self) -> None:
        assert names(world(at=SERVED).converge(BACKOFF)) == [StopGuest]

    def test_a_guest_that_is_done_gives_its_address_back(self) -> None:
        assert names(world(at=BACKOFF).converge(TAP)) == [GiveBack, WriteRecord]

    def test_a_guest_is_called_ready_once_it_is_and_no_longer(self) -> None:
        there = world(at=TAP)
        assert names(there.converge(READY)) == [WriteRecord, TakeOver, StartGuest, MarkReady]
        assert names(there.converge(SERVED)) == [UnmarkReady]
        there.converge(READY)
        assert names(there.converge(BACKOFF)) == [UnmarkReady, StopGuest]

    @pytest.mark.parametrize("desired", [BACKOFF, NOTHING])
    def test_a_guest_that_ended_is_ready_no_more(self, desired: Desired) -> None:
        there = world(at=READY)
        end_guest(there)
        assert names(there.converge(desired))[0] is UnmarkReady
        check_reached(there, desired)

    def test_nothing_wanted_and_nothing_there(self) -> None:
        assert world().converge(NOTHING) == []

    @pytest.mark.parametrize("desired", [NOTHING, TAP, BACKOFF, SERVED, READY])
    def test_once_there_nothing_is_to_do(self, desired: Desired) -> None:
        there = world(ETH0, ETH1, at=desired)
        assert there.converge(desired) == []
        check_reached(there, desired)

    def test_a_container_without_interfaces_gets_its_symlink_and_no_guest(self) -> None:
        bare = World({"eth0": replace(ETH0, addresses=(), routes=())})
        assert names(bare.converge(SERVED)) == [WriteRecord, LinkNetns]


class TestMending:
    def test_a_lost_rule(self) -> None:
        there = world(at=TAP)
        lose_rules(there)
        assert there.converge(TAP) == [AllowDevice(DEVICE)]

    def test_a_symlink_that_leads_elsewhere(self) -> None:
        there = world(at=TAP)
        there.netns_link = Pid(1)
        assert there.converge(TAP) == [LinkNetns()]

    def test_a_guest_that_died(self) -> None:
        there = world(at=SERVED)
        end_guest(there)
        assert names(there.converge(SERVED)) == [StartGuest]

    def test_a_deleted_tap_is_closed_before_another_gets_its_number(self) -> None:
        there = world(at=TAP)
        delete_tap(there)
        assert names(there.converge(TAP)) == [RemoveNode, DenyDevice, WriteRecord, *ATTACH_ONE]

    def test_a_restarted_container_is_attached_anew(self) -> None:
        there = world(at=SERVED)
        restart_container(there)
        assert names(there.converge(TAP)) == [UnlinkNetns, WriteRecord, LinkNetns, *ATTACH_ONE]

    def test_a_restarted_container_that_wants_nothing_is_forgotten(self) -> None:
        there = world(at=SERVED)
        restart_container(there)
        assert there.converge(NOTHING) == [UnlinkNetns(), DeleteRecord()]

    def test_a_container_that_ended_is_forgotten(self) -> None:
        there = world(at=SERVED)
        end_container(there)
        assert there.converge(SERVED) == [UnlinkNetns(), DeleteRecord()]

    def test_a_guest_without_a_record_is_stopped(self) -> None:
        assert next_action(ID, NAME, NOTHING, Seen(INCARNATION, guest=True), None) == StopGuest()

    def test_the_guests_interface_was_disconnected(self) -> None:
        there = world(ETH0, at=SERVED)
        del there.interfaces["eth0"], there.taps["eth0"]
        there.docker.clear()
        assert names(there.converge(BACKOFF)) == [StopGuest, WriteRecord, RemoveNode, DenyDevice, WriteRecord]

    def test_the_guest_ends_with_its_interface_while_it_is_wanted(self) -> None:
        there = world(ETH0, at=SERVED)
        del there.interfaces["eth0"], there.taps["eth0"]
        assert there.next(SERVED) == StopGuest(again=True)


class TestNotOurs:
    def test_a_symlink_of_another_process_is_not_removed(self) -> None:
        there = world(at=TAP)
        there.netns_link = Pid(1)
        assert UnlinkNetns() not in there.converge(NOTHING)

    def test_a_tap_of_another_name_is_not_deleted(self) -> None:
        there = world(at=TAP)
        there.taps["eth0"] = replace(there.taps["eth0"], name="vtapmine")
        assert DeleteTap not in names(there.converge(NOTHING))

    def test_a_node_that_was_exchanged_is_not_removed(self) -> None:
        there = world(at=TAP)
        there.nodes[0] = DeviceNumber(246, 77)
        assert RemoveNode not in names(there.converge(NOTHING))
        assert there.nodes[0] == DeviceNumber(246, 77)

    def test_an_address_that_was_added_since_stays(self) -> None:
        there = world(at=SERVED)
        added = Address(4, "10.9.9.9", 24)
        there.interfaces["eth0"] = replace(there.interfaces["eth0"], addresses=(added,))
        there.converge(NOTHING)
        assert set(there.interfaces["eth0"].addresses) == {added, *ETH0.addresses}


class TestNames:
    def test_the_tap_is_named_for_its_interfaces_mac(self) -> None:
        assert tap_name("02:42:ac:11:00:02") == "vtap110002"

    @pytest.mark.parametrize(
        ("interfaces", "slots"),
        [
            (("eth0", "eth1"), [0, 1]),
            (("eth1", "eth3"), [1, 3]),
            (("wan", "lan"), [64, 65]),
            (("wan", "eth0"), [64, 0]),
            (("eth1", "wan"), [1, 65]),
            (("eth1", "wan", "x"), [1, 65, 66]),
            (("ethernet",), [64]),
        ],
    )
    def test_slots_are_n_of_ethn_and_others_come_far_behind(
        self, interfaces: tuple[str, ...], slots: list[int]
    ) -> None:
        seen = Seen(INCARNATION, interfaces=tuple(SeenInterface(replace(ETH0, name=name)) for name in interfaces))
        action = next_action(ID, NAME, TAP, seen, None)
        assert isinstance(action, WriteRecord)
        assert [entry.slot for entry in action.record.taps] == slots

    def test_a_tap_that_is_there_keeps_its_name(self) -> None:
        """The record was lost after the takeover had changed the interface's MAC."""
        seen = Seen(INCARNATION, interfaces=(SeenInterface(replace(ETH0, mac="5e:00:00:00:00:09"), TAP0),))
        action = next_action(ID, NAME, TAP, seen, None)
        assert isinstance(action, WriteRecord)
        assert action.record.taps == (TapRecord(0, "eth0", "vtap110002"),)


class TestStates:
    entry = TapRecord(0, "eth0", TAP0.name, DEVICE, original=ETH0)
    stripped = replace(ETH0, mac="5e:00:00:00:00:09", addresses=(), routes=())
    tap = replace(TAP0, mac=ETH0.mac)

    def test_taken(self) -> None:
        assert is_taken(self.entry, SeenInterface(self.stripped, self.tap))

    @pytest.mark.parametrize(
        ("entry", "seen"),
        [
            (replace(entry, original=None), SeenInterface(stripped, tap)),
            (entry, None),
            (entry, SeenInterface(stripped, None)),
            (entry, SeenInterface(stripped, TAP0)),
            (entry, SeenInterface(replace(stripped, mac=ETH0.mac), tap)),
            (entry, SeenInterface(replace(stripped, addresses=ETH0.addresses), tap)),
        ],
    )
    def test_not_wholly_taken(self, entry: TapRecord, seen: SeenInterface | None) -> None:
        assert not is_taken(entry, seen)

    def test_attached_is_every_interface_complete_in_this_incarnation(self) -> None:
        there = world(ETH0, ETH1, at=TAP)
        assert is_attached(there.seen(), there.record)
        assert not is_attached(there.seen(), None)
        assert there.record is not None
        other = replace(there.record, incarnation=Incarnation(Pid(1), 1))
        assert not is_attached(there.seen(), other)
        lose_rules(there)
        assert not is_attached(there.seen(), there.record)

    def test_a_record_is_written_before_anything_else(self) -> None:
        seen = Seen(INCARNATION, interfaces=(SeenInterface(ETH0),))
        written = Record(ID, NAME, INCARNATION, (TapRecord(0, "eth0", "vtap110002"),))
        assert next_action(ID, NAME, SERVED, seen, None) == WriteRecord(written)

    def test_nothing_to_serve_without_entries(self) -> None:
        seen = Seen(INCARNATION, netns_link=INCARNATION.pid)
        assert next_action(ID, NAME, SERVED, seen, record()) is None


ETH0_AGAIN = Interface("eth0", IfIndex(31), "02:42:ac:11:00:09", 1500, (Address(4, "172.17.0.9", 16),))


def test_a_tap_that_gets_its_guests_mac_comes_up_only_with_it() -> None:
    there = world()
    steps = names(there.converge(SERVED))
    assert [step for step in steps if step in (CreateTap, TakeOver, RaiseTap)] == [CreateTap, TakeOver, RaiseTap]
    assert there.taps["eth0"].up


def test_a_tap_that_is_down_or_of_another_mtu_is_raised() -> None:
    there = world(at=TAP)
    (name,) = there.taps
    there.taps[name] = replace(there.taps[name], up=False, mtu=1280)
    assert names(there.converge(TAP)) == [RaiseTap]
    assert (there.taps[name].up, there.taps[name].mtu) == (True, there.interfaces["eth0"].mtu)


class TestCardsThatCannotBeTold:
    """A guest whose words carry no address of an interface: that one stays with the container, untouched."""

    needs_ipv4 = replace(SERVED, ip_versions=(4,))
    only_ipv6 = replace(ETH0, addresses=(Address(6, "fd00::2", 64), Address(4, "10.0.0.9", 24, valid_until_s=1e6)))

    def test_it_has_a_tap_and_keeps_its_addresses(self) -> None:
        there = world(self.only_ipv6, ETH1)
        actions = there.converge(self.needs_ipv4)
        attach_guests = [step for step in ATTACH_ONE if step is not RaiseTap]
        take_over = [WriteRecord, TakeOver, RaiseTap]
        assert names(actions) == [WriteRecord, LinkNetns, *ATTACH_ONE, *attach_guests, *take_over, StartGuest]
        assert there.interfaces["eth0"] == self.only_ipv6
        assert there.guest is not None
        assert [nic.original for nic in there.guest.nics.values()] == [ETH1]
        start = actions[-1]
        assert isinstance(start, StartGuest)
        assert start.others == (self.only_ipv6,)
        there.converge(NOTHING)
        check_reached(there, NOTHING)

    def test_a_guest_is_not_started_without_a_card(self) -> None:
        there = world(self.only_ipv6, at=self.needs_ipv4)
        assert there.guest is None
        assert there.record is not None
        assert not has_card(self.needs_ipv4, there.seen(), there.record)
        assert not has_card(self.needs_ipv4, replace(there.seen(), interfaces=()), there.record)
        both = replace(self.needs_ipv4, ip_versions=(4, 6))
        there.converge(both)
        assert has_card(both, there.seen(), there.record)
        check_reached(there, both)

    def test_a_guest_that_is_told_nothing_has_each(self) -> None:
        there = world(self.only_ipv6, ETH1, at=SERVED)
        check_reached(there, SERVED)

    def test_a_card_that_a_running_guest_has_stays(self) -> None:
        """An earlier version started it, or the interface lost its address since."""
        there = world(self.only_ipv6, at=SERVED)
        assert there.next(self.needs_ipv4) is None

    def test_an_interface_that_was_taken_over_counts_as_it_was(self) -> None:
        there = world(at=self.needs_ipv4)
        assert there.interfaces["eth0"].addresses == ()
        end_guest(there)
        assert names(there.converge(self.needs_ipv4)) == [StartGuest]


class TestSurprises:
    """What happened between two looks."""

    def test_a_container_that_ends_right_after_its_restart_leaves_no_symlink(self) -> None:
        there = world(at=TAP)
        restart_container(there)
        next(there.advance(TAP))  # the new record
        end_container(there)
        there.converge(TAP)
        assert there.netns_link is None

    def test_a_guest_whose_tap_was_deleted_is_started_on_the_new_one(self) -> None:
        there = world(at=SERVED)
        del there.taps["eth0"]
        taken = names(there.converge(SERVED))
        assert StopGuest in taken
        assert StartGuest in taken

    def test_an_interface_that_was_exchanged_between_two_looks_is_another_one(self) -> None:
        """docker network disconnect and connect, while no daemon ran."""
        there = world(at=SERVED)
        del there.taps["eth0"]
        there.docker["eth0"] = there.interfaces["eth0"] = ETH0_AGAIN
        end_guest(there)
        there.converge(SERVED)
        check_reached(there, SERVED)

    def test_the_tap_of_an_exchanged_interface_is_named_for_the_new_mac(self) -> None:
        there = world(at=TAP)
        del there.taps["eth0"]
        there.docker["eth0"] = there.interfaces["eth0"] = ETH0_AGAIN
        there.converge(TAP)
        assert there.taps["eth0"].name == "vtap110009"

    def test_a_guest_keeps_its_interface_when_one_before_it_comes_later(self) -> None:
        there = world(ETH1, at=SERVED)
        there.docker["eth0"] = there.interfaces["eth0"] = ETH0
        assert StopGuest not in names(there.converge(SERVED))
        assert is_taken_over(there, ETH1)
        check_reached(there, SERVED)

    def test_a_network_that_is_connected_waits_for_the_guests_next_start(self) -> None:
        there = world(at=SERVED)
        there.docker["eth1"] = there.interfaces["eth1"] = ETH1
        assert names(there.converge(SERVED)) == [WriteRecord, *ATTACH_ONE]
        end_guest(there)
        assert names(there.converge(SERVED)) == [WriteRecord, TakeOver, StartGuest]
        check_reached(there, SERVED)

    def test_or_is_plugged_into_one_that_takes_it(self) -> None:
        there = world(at=HOTPLUG)
        there.docker["eth1"] = there.interfaces["eth1"] = ETH1
        assert names(there.converge(HOTPLUG)) == [
            *(WriteRecord, *(step for step in ATTACH_ONE if step is not RaiseTap)),
            *(WriteRecord, TakeOver, RaiseTap, PlugNic),
        ]
        check_reached(there, HOTPLUG)

    @pytest.mark.parametrize("desired", [SERVED, HOTPLUG])
    def test_a_network_that_is_disconnected_is_unplugged(self, desired: Desired) -> None:
        there = world(ETH0, ETH1, at=desired)
        for of in (there.interfaces, there.taps, there.docker):
            del of["eth1"]
        assert names(there.converge(desired)) == [UnplugNic, WriteRecord, RemoveNode, DenyDevice, WriteRecord]
        check_reached(there, desired)

    def test_a_card_whose_plugging_failed_gives_its_address_back(self) -> None:
        there = world(at=HOTPLUG)
        there.docker["eth1"] = there.interfaces["eth1"] = ETH1
        there.converge(replace(HOTPLUG, guest=False))
        there.guest = Guest({0: Uplink(ETH0, there.taps["eth0"], 0)})
        assert names(there.converge(SERVED)) == [GiveBack, WriteRecord]
        check_reached(there, SERVED)

    def test_an_interface_of_another_name_is_still_the_guests(self) -> None:
        there = world(at=SERVED)
        rename_interface(there, "eth0", "wan0")
        assert names(there.converge(SERVED)) == [WriteRecord]
        assert there.guest is not None

    @pytest.mark.parametrize("reached", [TAP, SERVED])
    def test_what_was_taken_is_given_back_under_another_name(self, reached: Desired) -> None:
        there = world(at=reached)
        rename_interface(there, "eth0", "wan0")
        there.converge(NOTHING)
        check_reached(there, NOTHING)

    def test_two_interfaces_whose_macs_end_alike_have_a_tap_each(self) -> None:
        there = world(ETH0, replace(ETH1, mac="02:42:0a:11:00:02"))
        there.converge(TAP)
        assert len(there.taps) == 2


def test_a_new_tap_may_get_the_number_that_another_entry_still_has_on_record() -> None:
    """Both taps were deleted, and another container's new one took the first number at once."""
    there = world(ETH0, ETH1, at=TAP)
    there.taps.clear()
    there.minors_elsewhere.add(1)
    there.converge(TAP)
    check_reached(there, TAP)


class TestNumbersOfOthers:
    """The kernel gives a new tap the number of one that another container has deleted, and may still open."""

    def test_the_other_container_is_denied_the_number_and_the_tap_is_made_again(self) -> None:
        there = world()
        lose_neighbours_tap(there)
        assert names(there.converge(TAP)) == [
            *(WriteRecord, LinkNetns, CreateTap, RevokeDevice, DeleteTap),
            *ATTACH_ONE,
        ]
        check_reached(there, TAP)

    def test_a_tap_that_a_killed_daemon_made_is_made_again(self) -> None:
        there = world()
        for action in there.advance(TAP):
            if isinstance(action, CreateTap):
                break
        assert names(there.converge(TAP)) == [DeleteTap, *ATTACH_ONE]

    def test_so_is_one_that_the_container_made_itself(self) -> None:
        there = world(at=TAP)
        there.taps["eth0"] = replace(TAP0, index=IfIndex(77), device=DeviceNumber(246, 77))
        assert names(there.converge(TAP)) == [RemoveNode, DenyDevice, WriteRecord, DeleteTap, *ATTACH_ONE]

    def test_a_guest_on_a_tap_that_became_suspect_is_started_again_on_a_new_one(self) -> None:
        there = world(at=SERVED)
        assert there.record is not None
        (entry,) = there.record.taps
        there.record = replace(there.record, taps=(replace(entry, device=None),))
        taken = names(there.converge(SERVED))
        assert taken.index(StopGuest) < taken.index(DeleteTap) < taken.index(CreateTap) < taken.index(StartGuest)
        check_reached(there, SERVED)
