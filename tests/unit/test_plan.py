"""Plans of common situations, step by step, and the single decisions behind them."""

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
from supervisor.core.attach.entries import is_taken, tap_name
from supervisor.core.attach.plan import has_card, is_attached, next_action
from supervisor.core.attach.state import Desired, Seen, SeenInterface
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

    def test_start_a_guest(self) -> None:
        assert names(world(at=TAP).converge(SERVED)) == [WriteRecord, TakeOver, StartGuest]

    def test_detach(self) -> None:
        assert names(world(at=TAP).converge(NOTHING)) == [*DETACH_ONE, UnlinkNetns, DeleteRecord]

    def test_detach_with_a_guest_undoes_in_reverse(self) -> None:
        undone = names(world(ETH0, ETH1, at=SERVED).converge(NOTHING))
        each = [GiveBack, WriteRecord, *DETACH_ONE]
        assert undone == [StopGuest, *each, *each, UnlinkNetns, DeleteRecord]

    def test_guest_takes_over_all_interfaces(self) -> None:
        there = world(ETH0, ETH1, at=TAP)
        assert names(there.converge(SERVED)) == [WriteRecord, TakeOver, WriteRecord, TakeOver, StartGuest]
        assert there.guest is not None
        assert [nic.original for nic in there.guest.nics.values()] == [ETH0, ETH1]

    def test_guest_with_its_own_address_leaves_the_containers_address(self) -> None:
        assert names(world(at=TAP).converge(OWN_ADDRESS)) == [StartGuest]

    def test_guest_with_another_address_mode_is_restarted(self) -> None:
        there = world(at=SERVED)
        assert names(there.converge(OWN_ADDRESS)) == [StopGuest, GiveBack, WriteRecord, StartGuest]
        check_reached(there, OWN_ADDRESS)

    def test_guest_in_backoff_keeps_its_address(self) -> None:
        assert names(world(at=SERVED).converge(BACKOFF)) == [StopGuest]

    def test_guest_that_exited_for_good_gives_its_address_back(self) -> None:
        assert names(world(at=BACKOFF).converge(TAP)) == [GiveBack, WriteRecord]

    def test_guest_is_marked_ready_only_while_it_is(self) -> None:
        there = world(at=TAP)
        assert names(there.converge(READY)) == [WriteRecord, TakeOver, StartGuest, MarkReady]
        assert names(there.converge(SERVED)) == [UnmarkReady]
        there.converge(READY)
        assert names(there.converge(BACKOFF)) == [UnmarkReady, StopGuest]

    @pytest.mark.parametrize("desired", [BACKOFF, NOTHING])
    def test_guest_that_ended_is_no_longer_marked_ready(self, desired: Desired) -> None:
        there = world(at=READY)
        end_guest(there)
        assert names(there.converge(desired))[0] is UnmarkReady
        check_reached(there, desired)

    def test_nothing_desired_and_nothing_there_is_no_action(self) -> None:
        assert world().converge(NOTHING) == []

    @pytest.mark.parametrize("desired", [NOTHING, TAP, BACKOFF, SERVED, READY])
    def test_converged_plan_has_no_further_action(self, desired: Desired) -> None:
        there = world(ETH0, ETH1, at=desired)
        assert there.converge(desired) == []
        check_reached(there, desired)

    def test_container_without_interfaces_gets_its_symlink_and_no_guest(self) -> None:
        bare = World({"eth0": replace(ETH0, addresses=(), routes=())})
        assert names(bare.converge(SERVED)) == [WriteRecord, LinkNetns]


class TestRepairs:
    def test_lost_rule_is_added_again(self) -> None:
        there = world(at=TAP)
        lose_rules(there)
        assert there.converge(TAP) == [AllowDevice(DEVICE)]

    def test_wrong_symlink_is_replaced(self) -> None:
        there = world(at=TAP)
        there.netns_link = Pid(1)
        assert there.converge(TAP) == [LinkNetns()]

    def test_guest_that_died_is_started_again(self) -> None:
        there = world(at=SERVED)
        end_guest(there)
        assert names(there.converge(SERVED)) == [StartGuest]

    def test_deleted_tap_is_denied_before_the_next_gets_its_number(self) -> None:
        there = world(at=TAP)
        delete_tap(there)
        assert names(there.converge(TAP)) == [RemoveNode, DenyDevice, WriteRecord, *ATTACH_ONE]

    def test_restarted_container_is_attached_again(self) -> None:
        there = world(at=SERVED)
        restart_container(there)
        assert names(there.converge(TAP)) == [UnlinkNetns, WriteRecord, LinkNetns, *ATTACH_ONE]

    def test_restarted_container_that_wants_nothing_is_forgotten(self) -> None:
        there = world(at=SERVED)
        restart_container(there)
        assert there.converge(NOTHING) == [UnlinkNetns(), DeleteRecord()]

    def test_ended_container_is_forgotten(self) -> None:
        there = world(at=SERVED)
        end_container(there)
        assert there.converge(SERVED) == [UnlinkNetns(), DeleteRecord()]

    def test_guest_without_a_record_is_stopped(self) -> None:
        assert next_action(ID, NAME, NOTHING, Seen(INCARNATION, guest=True), None) == StopGuest()

    def test_disconnected_interface_of_the_guest_is_cleaned_up(self) -> None:
        there = world(ETH0, at=SERVED)
        del there.interfaces["eth0"], there.taps["eth0"]
        there.docker.clear()
        assert names(there.converge(BACKOFF)) == [StopGuest, WriteRecord, RemoveNode, DenyDevice, WriteRecord]

    def test_guest_that_loses_its_interface_is_restarted(self) -> None:
        there = world(ETH0, at=SERVED)
        del there.interfaces["eth0"], there.taps["eth0"]
        assert there.next(SERVED) == StopGuest(again=True)


class TestForeignObjects:
    def test_symlink_to_another_process_is_not_removed(self) -> None:
        there = world(at=TAP)
        there.netns_link = Pid(1)
        assert UnlinkNetns() not in there.converge(NOTHING)

    def test_tap_of_another_name_is_not_deleted(self) -> None:
        there = world(at=TAP)
        there.taps["eth0"] = replace(there.taps["eth0"], name="vtapmine")
        assert DeleteTap not in names(there.converge(NOTHING))

    def test_exchanged_node_is_not_removed(self) -> None:
        there = world(at=TAP)
        there.nodes[0] = DeviceNumber(246, 77)
        assert RemoveNode not in names(there.converge(NOTHING))
        assert there.nodes[0] == DeviceNumber(246, 77)

    def test_address_that_was_added_later_stays(self) -> None:
        there = world(at=SERVED)
        added = Address(4, "10.9.9.9", 24)
        there.interfaces["eth0"] = replace(there.interfaces["eth0"], addresses=(added,))
        there.converge(NOTHING)
        assert set(there.interfaces["eth0"].addresses) == {added, *ETH0.addresses}


class TestNames:
    def test_tap_is_named_after_the_mac_of_its_interface(self) -> None:
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
    def test_slot_is_the_number_of_ethn_and_64_upwards_for_others(
        self, interfaces: tuple[str, ...], slots: list[int]
    ) -> None:
        seen = Seen(INCARNATION, interfaces=tuple(SeenInterface(replace(ETH0, name=name)) for name in interfaces))
        action = next_action(ID, NAME, TAP, seen, None)
        assert isinstance(action, WriteRecord)
        assert [entry.slot for entry in action.record.taps] == slots

    def test_existing_tap_keeps_its_name(self) -> None:
        """The record was lost after the takeover had changed the interface's MAC."""
        seen = Seen(INCARNATION, interfaces=(SeenInterface(replace(ETH0, mac="5e:00:00:00:00:09"), TAP0),))
        action = next_action(ID, NAME, TAP, seen, None)
        assert isinstance(action, WriteRecord)
        assert action.record.taps == (TapRecord(0, "eth0", "vtap110002"),)


class TestStates:
    entry = TapRecord(0, "eth0", TAP0.name, DEVICE, original=ETH0)
    stripped = replace(ETH0, mac="5e:00:00:00:00:09", addresses=(), routes=())
    tap = replace(TAP0, mac=ETH0.mac)

    def test_interface_is_taken_over(self) -> None:
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
    def test_interface_is_not_wholly_taken_over(self, entry: TapRecord, seen: SeenInterface | None) -> None:
        assert not is_taken(entry, seen)

    def test_attached_means_every_interface_is_complete_in_this_incarnation(self) -> None:
        there = world(ETH0, ETH1, at=TAP)
        assert is_attached(there.seen(), there.record)
        assert not is_attached(there.seen(), None)
        assert there.record is not None
        other = replace(there.record, incarnation=Incarnation(Pid(1), 1))
        assert not is_attached(there.seen(), other)
        lose_rules(there)
        assert not is_attached(there.seen(), there.record)

    def test_record_is_written_first(self) -> None:
        seen = Seen(INCARNATION, interfaces=(SeenInterface(ETH0),))
        written = Record(ID, NAME, INCARNATION, (TapRecord(0, "eth0", "vtap110002"),))
        assert next_action(ID, NAME, SERVED, seen, None) == WriteRecord(written)

    def test_no_guest_without_taps_on_record(self) -> None:
        seen = Seen(INCARNATION, netns_link=INCARNATION.pid)
        assert next_action(ID, NAME, SERVED, seen, record()) is None


ETH0_AGAIN = Interface("eth0", IfIndex(31), "02:42:ac:11:00:09", 1500, (Address(4, "172.17.0.9", 16),))


def test_tap_comes_up_only_after_it_has_the_guests_mac() -> None:
    there = world()
    steps = names(there.converge(SERVED))
    assert [step for step in steps if step in (CreateTap, TakeOver, RaiseTap)] == [CreateTap, TakeOver, RaiseTap]
    assert there.taps["eth0"].up


def test_tap_that_is_down_or_has_another_mtu_is_raised() -> None:
    there = world(at=TAP)
    (name,) = there.taps
    there.taps[name] = replace(there.taps[name], up=False, mtu=1280)
    assert names(there.converge(TAP)) == [RaiseTap]
    assert (there.taps[name].up, there.taps[name].mtu) == (True, there.interfaces["eth0"].mtu)


class TestInterfacesWithoutACard:
    """An interface whose addresses the guest cannot be given stays with the container, unchanged."""

    needs_ipv4 = replace(SERVED, ip_versions=(4,))
    only_ipv6 = replace(ETH0, addresses=(Address(6, "fd00::2", 64), Address(4, "10.0.0.9", 24, valid_until_s=1e6)))

    def test_interface_has_a_tap_and_keeps_its_addresses(self) -> None:
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

    def test_guest_without_a_card_is_not_started(self) -> None:
        there = world(self.only_ipv6, at=self.needs_ipv4)
        assert there.guest is None
        assert there.record is not None
        assert not has_card(self.needs_ipv4, there.seen(), there.record)
        assert not has_card(self.needs_ipv4, replace(there.seen(), interfaces=()), there.record)
        both = replace(self.needs_ipv4, ip_versions=(4, 6))
        there.converge(both)
        assert has_card(both, there.seen(), there.record)
        check_reached(there, both)

    def test_guest_that_is_given_no_addresses_has_every_card(self) -> None:
        there = world(self.only_ipv6, ETH1, at=SERVED)
        check_reached(there, SERVED)

    def test_running_guest_keeps_its_card(self) -> None:
        """An earlier version started it, or the interface has lost its address since then."""
        there = world(self.only_ipv6, at=SERVED)
        assert there.next(self.needs_ipv4) is None

    def test_taken_over_interface_counts_with_its_original_addresses(self) -> None:
        there = world(at=self.needs_ipv4)
        assert there.interfaces["eth0"].addresses == ()
        end_guest(there)
        assert names(there.converge(self.needs_ipv4)) == [StartGuest]


class TestSurprises:
    """Changes that happened between two observations."""

    def test_container_that_ends_right_after_its_restart_leaves_no_symlink(self) -> None:
        there = world(at=TAP)
        restart_container(there)
        next(there.advance(TAP))  # the new record
        end_container(there)
        there.converge(TAP)
        assert there.netns_link is None

    def test_guest_whose_tap_was_deleted_is_restarted_on_the_new_one(self) -> None:
        there = world(at=SERVED)
        del there.taps["eth0"]
        taken = names(there.converge(SERVED))
        assert StopGuest in taken
        assert StartGuest in taken

    def test_exchanged_interface_is_a_new_interface(self) -> None:
        """docker network disconnect and connect, while no daemon ran."""
        there = world(at=SERVED)
        del there.taps["eth0"]
        there.docker["eth0"] = there.interfaces["eth0"] = ETH0_AGAIN
        end_guest(there)
        there.converge(SERVED)
        check_reached(there, SERVED)

    def test_tap_of_an_exchanged_interface_is_named_after_the_new_mac(self) -> None:
        there = world(at=TAP)
        del there.taps["eth0"]
        there.docker["eth0"] = there.interfaces["eth0"] = ETH0_AGAIN
        there.converge(TAP)
        assert there.taps["eth0"].name == "vtap110009"

    def test_guest_keeps_its_interface_when_an_earlier_one_appears(self) -> None:
        there = world(ETH1, at=SERVED)
        there.docker["eth0"] = there.interfaces["eth0"] = ETH0
        assert StopGuest not in names(there.converge(SERVED))
        assert is_taken_over(there, ETH1)
        check_reached(there, SERVED)

    def test_connected_network_waits_for_the_guests_next_start(self) -> None:
        there = world(at=SERVED)
        there.docker["eth1"] = there.interfaces["eth1"] = ETH1
        assert names(there.converge(SERVED)) == [WriteRecord, *ATTACH_ONE]
        end_guest(there)
        assert names(there.converge(SERVED)) == [WriteRecord, TakeOver, StartGuest]
        check_reached(there, SERVED)

    def test_connected_network_is_plugged_into_a_guest_with_hotplug(self) -> None:
        there = world(at=HOTPLUG)
        there.docker["eth1"] = there.interfaces["eth1"] = ETH1
        assert names(there.converge(HOTPLUG)) == [
            *(WriteRecord, *(step for step in ATTACH_ONE if step is not RaiseTap)),
            *(WriteRecord, TakeOver, RaiseTap, PlugNic),
        ]
        check_reached(there, HOTPLUG)

    @pytest.mark.parametrize("desired", [SERVED, HOTPLUG])
    def test_disconnected_network_is_unplugged(self, desired: Desired) -> None:
        there = world(ETH0, ETH1, at=desired)
        for of in (there.interfaces, there.taps, there.docker):
            del of["eth1"]
        assert names(there.converge(desired)) == [UnplugNic, WriteRecord, RemoveNode, DenyDevice, WriteRecord]
        check_reached(there, desired)

    def test_card_whose_plugging_failed_gives_its_address_back(self) -> None:
        there = world(at=HOTPLUG)
        there.docker["eth1"] = there.interfaces["eth1"] = ETH1
        there.converge(replace(HOTPLUG, guest=False))
        there.guest = Guest({0: Uplink(ETH0, there.taps["eth0"], 0)})
        assert names(there.converge(SERVED)) == [GiveBack, WriteRecord]
        check_reached(there, SERVED)

    def test_renamed_interface_stays_with_the_guest(self) -> None:
        there = world(at=SERVED)
        rename_interface(there, "eth0", "wan0")
        assert names(there.converge(SERVED)) == [WriteRecord]
        assert there.guest is not None

    @pytest.mark.parametrize("reached", [TAP, SERVED])
    def test_renamed_interface_is_given_back(self, reached: Desired) -> None:
        there = world(at=reached)
        rename_interface(there, "eth0", "wan0")
        there.converge(NOTHING)
        check_reached(there, NOTHING)

    def test_interfaces_with_similar_macs_have_a_tap_each(self) -> None:
        there = world(ETH0, replace(ETH1, mac="02:42:0a:11:00:02"))
        there.converge(TAP)
        assert len(there.taps) == 2


def test_new_tap_may_get_a_number_that_another_entry_still_has() -> None:
    """Both taps were deleted, and another container's new tap got the first number."""
    there = world(ETH0, ETH1, at=TAP)
    there.taps.clear()
    there.minors_elsewhere.add(1)
    there.converge(TAP)
    check_reached(there, TAP)


class TestReusedDeviceNumbers:
    """The kernel gives a new tap the number of a deleted one, which another container may still open."""

    def test_other_container_is_denied_the_number_and_the_tap_is_made_again(self) -> None:
        there = world()
        lose_neighbours_tap(there)
        assert names(there.converge(TAP)) == [
            *(WriteRecord, LinkNetns, CreateTap, RevokeDevice, DeleteTap),
            *ATTACH_ONE,
        ]
        check_reached(there, TAP)

    def test_tap_made_by_a_killed_daemon_is_made_again(self) -> None:
        there = world()
        for action in there.advance(TAP):
            if isinstance(action, CreateTap):
                break
        assert names(there.converge(TAP)) == [DeleteTap, *ATTACH_ONE]

    def test_tap_made_by_the_container_is_made_again(self) -> None:
        there = world(at=TAP)
        there.taps["eth0"] = replace(TAP0, index=IfIndex(77), device=DeviceNumber(246, 77))
        assert names(there.converge(TAP)) == [RemoveNode, DenyDevice, WriteRecord, DeleteTap, *ATTACH_ONE]

    def test_guest_on_a_suspect_tap_is_restarted_on_a_new_one(self) -> None:
        there = world(at=SERVED)
        assert there.record is not None
        (entry,) = there.record.taps
        there.record = replace(there.record, taps=(replace(entry, device=None),))
        taken = names(there.converge(SERVED))
        assert taken.index(StopGuest) < taken.index(DeleteTap) < taken.index(CreateTap) < taken.index(StartGuest)
        check_reached(there, SERVED)
