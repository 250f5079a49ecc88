"""Plans of common situations, step by step, and the single decisions behind them."""

from dataclasses import replace

import pytest

from supervisor.core.attach import actions
from supervisor.core.attach.actions import Action, Planned, Uplink
from supervisor.core.attach.entries import is_taken, tap_name
from supervisor.core.attach.plan import has_card, is_attached, next_step
from supervisor.core.attach.state import Desired, Seen, SeenInterface
from supervisor.core.container import Incarnation, Pid
from supervisor.core.kinds.kind import MANY_CARDS as MANY
from supervisor.core.links import Address, DeviceNumber, IfIndex, Interface
from supervisor.core.record import Record, TapRecord

from .disturbances import (
    delete_tap,
    end_container,
    end_guest,
    lose_neighbours_tap,
    lose_rules,
    rename_interface,
    restart_container,
)
from .examples import DEVICE, ETH0, ETH1, ID, INCARNATION, NAME, TAP0, record
from .invariants import check_reached, is_taken_over
from .simulated_host import FOREIGN_DEVICE, FOREIGN_SLOT, Guest, KernelRefusesError, SimulatedHost

NOTHING, TAP = Desired(False), Desired(True)
BACKOFF, SERVED = Desired(True, takeover=True, cards=MANY), Desired(True, takeover=True, cards=MANY, guest=True)
READY = replace(SERVED, ready=True)
HOTPLUG, OWN_ADDRESS = replace(SERVED, hotplug=True), Desired(True, guest=True, cards=MANY)

ATTACH_ONE = [actions.CreateTap, actions.WriteRecord, actions.RaiseTap, actions.AllowDevice, actions.MakeNode]
DETACH_ONE = [actions.RemoveNode, actions.DenyDevice, actions.DeleteTap, actions.WriteRecord]


def names(taken: list[Action]) -> list[type]:
    return [type(action) for action in taken]


def simulated(*interfaces: Interface, at: Desired = NOTHING) -> SimulatedHost:
    made = SimulatedHost({each.name: each for each in interfaces or (ETH0,)})
    made.converge(at)
    return made


class TestSnapshot:
    def test_snapshot_is_taken_once_the_guest_is_marked_ready(self) -> None:
        host = simulated(at=SERVED)
        steps = host.converge(replace(READY, snapshot=True))
        assert names(steps) == [actions.MarkReady, actions.KeepSnapshot]

    def test_guest_is_moved_before_its_snapshot_is_taken(self) -> None:
        steps = simulated(at=SERVED).converge(replace(SERVED, snapshot=True, refresh=True))
        assert names(steps) == [actions.RefreshGuest, actions.KeepSnapshot]


class TestFromStartToEnd:
    def test_attach(self) -> None:
        assert names(simulated().converge(TAP)) == [actions.WriteRecord, actions.LinkNetns, *ATTACH_ONE]

    def test_attach_two_interfaces(self) -> None:
        assert names(simulated(ETH0, ETH1).converge(TAP)) == [
            actions.WriteRecord,
            actions.LinkNetns,
            *ATTACH_ONE,
            *ATTACH_ONE,
        ]

    def test_start_a_guest(self) -> None:
        assert names(simulated(at=TAP).converge(SERVED)) == [actions.WriteRecord, actions.TakeOver, actions.StartGuest]

    def test_detach(self) -> None:
        assert names(simulated(at=TAP).converge(NOTHING)) == [*DETACH_ONE, actions.UnlinkNetns, actions.DeleteRecord]

    def test_detach_with_a_guest_undoes_in_reverse(self) -> None:
        undone = names(simulated(ETH0, ETH1, at=SERVED).converge(NOTHING))
        each = [actions.GiveBack, actions.WriteRecord, *DETACH_ONE]
        assert undone == [actions.StopGuest, *each, *each, actions.UnlinkNetns, actions.DeleteRecord]

    def test_guest_takes_over_all_interfaces(self) -> None:
        host = simulated(ETH0, ETH1, at=TAP)
        assert names(host.converge(SERVED)) == [
            actions.WriteRecord,
            actions.TakeOver,
            actions.WriteRecord,
            actions.TakeOver,
            actions.StartGuest,
        ]
        assert host.guest is not None
        assert [nic.original for nic in host.guest.nics.values()] == [ETH0, ETH1]

    def test_guest_with_its_own_address_leaves_the_containers_address(self) -> None:
        assert names(simulated(at=TAP).converge(OWN_ADDRESS)) == [actions.StartGuest]

    def test_guest_with_another_address_mode_is_restarted(self) -> None:
        host = simulated(at=SERVED)
        assert names(host.converge(OWN_ADDRESS)) == [
            actions.StopGuest,
            actions.GiveBack,
            actions.WriteRecord,
            actions.StartGuest,
        ]
        check_reached(host, OWN_ADDRESS)

    def test_guest_in_backoff_keeps_its_address(self) -> None:
        assert names(simulated(at=SERVED).converge(BACKOFF)) == [actions.StopGuest]

    def test_guest_of_a_container_that_got_its_stop_signal_resumes_later(self) -> None:
        host = simulated(at=SERVED)
        signalled = replace(BACKOFF, resumes_at_s=130.0)
        assert host.converge(signalled) == [actions.StopGuest(again=True, not_before_s=130.0)]

    def test_guest_that_exited_for_good_gives_its_address_back(self) -> None:
        assert names(simulated(at=BACKOFF).converge(TAP)) == [actions.GiveBack, actions.WriteRecord]

    def test_guest_is_marked_ready_only_while_it_is(self) -> None:
        host = simulated(at=TAP)
        assert names(host.converge(READY)) == [
            actions.WriteRecord,
            actions.TakeOver,
            actions.StartGuest,
            actions.MarkReady,
        ]
        assert names(host.converge(SERVED)) == [actions.UnmarkReady]
        host.converge(READY)
        assert names(host.converge(BACKOFF)) == [actions.UnmarkReady, actions.StopGuest]

    @pytest.mark.parametrize("desired", [BACKOFF, NOTHING])
    def test_guest_that_ended_is_no_longer_marked_ready(self, desired: Desired) -> None:
        host = simulated(at=READY)
        end_guest(host)
        assert names(host.converge(desired))[0] is actions.UnmarkReady
        check_reached(host, desired)

    def test_exit_status_of_a_guest_is_shown_only_while_it_is_done(self) -> None:
        host = simulated(at=SERVED)
        done = replace(TAP, exit_status=7)
        assert names(host.converge(done))[-1] is actions.MarkExit
        assert host.converge(replace(done, exit_status=0)) == [actions.MarkExit(0)]
        assert names(host.converge(SERVED))[0] is actions.UnmarkExit
        host.converge(done)
        assert names(host.converge(NOTHING))[0] is actions.UnmarkExit

    def test_nothing_desired_and_nothing_there_is_no_action(self) -> None:
        assert simulated().converge(NOTHING) == []

    @pytest.mark.parametrize("desired", [NOTHING, TAP, BACKOFF, SERVED, READY])
    def test_converged_plan_has_no_further_action(self, desired: Desired) -> None:
        host = simulated(ETH0, ETH1, at=desired)
        assert host.converge(desired) == []
        check_reached(host, desired)

    def test_container_without_interfaces_gets_its_symlink_and_no_guest(self) -> None:
        bare = SimulatedHost({"eth0": replace(ETH0, addresses=(), routes=())})
        assert names(bare.converge(SERVED)) == [actions.WriteRecord, actions.LinkNetns]


class TestRepairs:
    def test_lost_rule_is_added_again(self) -> None:
        host = simulated(at=TAP)
        lose_rules(host)
        assert host.converge(TAP) == [actions.AllowDevice(DEVICE)]

    def test_wrong_symlink_is_replaced(self) -> None:
        host = simulated(at=TAP)
        host.netns_link = Pid(1)
        assert host.converge(TAP) == [actions.LinkNetns()]

    def test_guest_that_died_is_started_again(self) -> None:
        host = simulated(at=SERVED)
        end_guest(host)
        assert names(host.converge(SERVED)) == [actions.StartGuest]

    def test_deleted_tap_is_denied_before_the_next_gets_its_number(self) -> None:
        host = simulated(at=TAP)
        delete_tap(host)
        assert names(host.converge(TAP)) == [actions.RemoveNode, actions.DenyDevice, actions.WriteRecord, *ATTACH_ONE]

    def test_restarted_container_is_attached_again(self) -> None:
        host = simulated(at=SERVED)
        restart_container(host)
        assert names(host.converge(TAP)) == [actions.UnlinkNetns, actions.WriteRecord, actions.LinkNetns, *ATTACH_ONE]

    def test_restarted_container_that_wants_nothing_is_forgotten(self) -> None:
        host = simulated(at=SERVED)
        restart_container(host)
        assert host.converge(NOTHING) == [actions.UnlinkNetns(), actions.DeleteRecord()]

    def test_ended_container_is_forgotten(self) -> None:
        host = simulated(at=SERVED)
        end_container(host)
        assert host.converge(SERVED) == [actions.UnlinkNetns(), actions.DeleteRecord()]

    def test_guest_without_a_record_is_stopped(self) -> None:
        assert next_step(ID, NAME, NOTHING, Seen(INCARNATION, guest=True), None) == Planned(actions.StopGuest())

    def test_disconnected_interface_of_the_guest_is_cleaned_up(self) -> None:
        host = simulated(ETH0, at=SERVED)
        del host.interfaces["eth0"], host.taps["eth0"]
        host.docker.clear()
        assert names(host.converge(BACKOFF)) == [
            actions.StopGuest,
            actions.WriteRecord,
            actions.RemoveNode,
            actions.DenyDevice,
            actions.WriteRecord,
        ]

    def test_guest_that_loses_its_interface_is_restarted(self) -> None:
        host = simulated(ETH0, at=SERVED)
        del host.interfaces["eth0"], host.taps["eth0"]
        assert host.next(SERVED) == actions.StopGuest(again=True)


class TestForeignObjects:
    def test_symlink_to_another_process_is_not_removed(self) -> None:
        host = simulated(at=TAP)
        host.netns_link = Pid(1)
        assert actions.UnlinkNetns() not in host.converge(NOTHING)

    @pytest.mark.parametrize("desired", [TAP, SERVED, NOTHING])
    def test_macvtap_of_the_container_is_not_taken_for_the_deleted_tap(self, desired: Desired) -> None:
        """It has the tap's number, and another ifindex."""
        host = simulated(at=TAP)
        mine = replace(host.taps.pop("eth0"), name="mine", index=IfIndex(77))
        host.foreign.append(mine)
        host.minors_elsewhere.add(mine.device.minor)
        host.disturbed = True
        host.converge(desired)
        check_reached(host, desired)
        assert host.foreign == [mine]
        assert mine.device not in host.rules

    @pytest.mark.parametrize("desired", [TAP, SERVED])
    def test_macvtap_of_the_container_that_has_the_taps_name_stays(self, desired: Desired) -> None:
        host = simulated()
        mine = replace(TAP0, mac="02:00:00:00:00:01")
        host.foreign.append(mine)
        with pytest.raises(KernelRefusesError, match="EEXIST"):
            host.converge(desired)
        host.converge(NOTHING)
        check_reached(host, NOTHING)
        assert host.foreign == [mine]

    def test_renamed_tap_stays_the_interfaces_tap(self) -> None:
        host = simulated(at=SERVED)
        host.taps["eth0"] = replace(host.taps["eth0"], name="stolen")
        assert names(host.converge(SERVED)) == [actions.WriteRecord]
        end_guest(host)
        assert names(host.converge(SERVED)) == [actions.StartGuest]
        host.converge(NOTHING)
        check_reached(host, NOTHING)

    def test_exchanged_node_is_not_removed(self) -> None:
        host = simulated(at=TAP)
        host.nodes[0] = DeviceNumber(246, 77)
        assert actions.RemoveNode not in names(host.converge(NOTHING))
        assert host.nodes[0] == DeviceNumber(246, 77)

    def test_address_that_was_added_later_stays(self) -> None:
        host = simulated(at=SERVED)
        added = Address(4, "10.9.9.9", 24)
        host.interfaces["eth0"] = replace(host.interfaces["eth0"], addresses=(added,))
        host.converge(NOTHING)
        assert set(host.interfaces["eth0"].addresses) == {added, *ETH0.addresses}


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
        step = next_step(ID, NAME, TAP, seen, None)
        assert step is not None
        assert isinstance(step.action, actions.WriteRecord)
        assert [entry.slot for entry in step.action.record.taps] == slots

    def test_existing_tap_keeps_its_name(self) -> None:
        """The record was lost after the takeover had changed the interface's MAC."""
        seen = Seen(INCARNATION, interfaces=(SeenInterface(replace(ETH0, mac="5e:00:00:00:00:09"), TAP0),))
        step = next_step(ID, NAME, TAP, seen, None)
        assert step is not None
        assert isinstance(step.action, actions.WriteRecord)
        assert step.action.record.taps == (TapRecord(0, "eth0", "vtap110002"),)


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
        host = simulated(ETH0, ETH1, at=TAP)
        assert is_attached(host.seen(), host.record)
        assert not is_attached(host.seen(), None)
        assert host.record is not None
        other = replace(host.record, incarnation=Incarnation(Pid(1), 1))
        assert not is_attached(host.seen(), other)
        lose_rules(host)
        assert not is_attached(host.seen(), host.record)

    def test_record_is_written_first(self) -> None:
        seen = Seen(INCARNATION, interfaces=(SeenInterface(ETH0),))
        written = Record(ID, NAME, INCARNATION, (TapRecord(0, "eth0", "vtap110002"),))
        assert next_step(ID, NAME, SERVED, seen, None) == Planned(actions.WriteRecord(written))

    def test_no_guest_without_taps_on_record(self) -> None:
        seen = Seen(INCARNATION, netns_link=INCARNATION.pid)
        assert next_step(ID, NAME, SERVED, seen, record()) is None


ETH0_AGAIN = Interface("eth0", IfIndex(31), "02:42:ac:11:00:09", 1500, (Address(4, "172.17.0.9", 16),))


def test_tap_comes_up_only_after_it_has_the_guests_mac() -> None:
    host = simulated()
    steps = names(host.converge(SERVED))
    assert [step for step in steps if step in (actions.CreateTap, actions.TakeOver, actions.RaiseTap)] == [
        actions.CreateTap,
        actions.TakeOver,
        actions.RaiseTap,
    ]
    assert host.taps["eth0"].up


def test_node_is_given_to_the_containers_user() -> None:
    host = simulated(at=TAP)
    seen = replace(host.seen(), ungiven=frozenset({0}))
    assert next_step(ID, NAME, TAP, seen, host.record) == Planned(actions.MakeNode(0, DEVICE), "eth0")


def test_tap_that_is_down_or_has_another_mtu_is_raised() -> None:
    host = simulated(at=TAP)
    (name,) = host.taps
    host.taps[name] = replace(host.taps[name], up=False, mtu=1280)
    assert names(host.converge(TAP)) == [actions.RaiseTap]
    assert (host.taps[name].up, host.taps[name].mtu) == (True, host.interfaces["eth0"].mtu)


class TestInterfacesWithoutACard:
    """An interface whose addresses the guest cannot be given stays with the container, unchanged."""

    needs_ipv4 = replace(SERVED, ip_versions=(4,))
    only_ipv6 = replace(ETH0, addresses=(Address(6, "fd00::2", 64), Address(4, "10.0.0.9", 24, valid_until_s=1e6)))

    def test_interface_has_a_tap_and_keeps_its_addresses(self) -> None:
        host = simulated(self.only_ipv6, ETH1)
        taken = host.converge(self.needs_ipv4)
        attach_guests = [step for step in ATTACH_ONE if step is not actions.RaiseTap]
        take_over = [actions.WriteRecord, actions.TakeOver, actions.RaiseTap]
        assert names(taken) == [
            actions.WriteRecord,
            actions.LinkNetns,
            *ATTACH_ONE,
            *attach_guests,
            *take_over,
            actions.StartGuest,
        ]
        assert host.interfaces["eth0"] == self.only_ipv6
        assert host.guest is not None
        assert [nic.original for nic in host.guest.nics.values()] == [ETH1]
        start = taken[-1]
        assert isinstance(start, actions.StartGuest)
        assert start.others == (self.only_ipv6,)
        host.converge(NOTHING)
        check_reached(host, NOTHING)

    def test_guest_without_a_card_is_not_started(self) -> None:
        host = simulated(self.only_ipv6, at=self.needs_ipv4)
        assert host.guest is None
        assert host.record is not None
        assert not has_card(self.needs_ipv4, host.seen(), host.record)
        assert not has_card(self.needs_ipv4, replace(host.seen(), interfaces=()), host.record)
        both = replace(self.needs_ipv4, ip_versions=(4, 6))
        host.converge(both)
        assert has_card(both, host.seen(), host.record)
        check_reached(host, both)

    def test_guest_that_is_given_no_addresses_has_every_card(self) -> None:
        host = simulated(self.only_ipv6, ETH1, at=SERVED)
        check_reached(host, SERVED)

    def test_running_guest_keeps_its_card(self) -> None:
        """An earlier version started it, or the interface has lost its address since then."""
        host = simulated(self.only_ipv6, at=SERVED)
        assert host.next(self.needs_ipv4) is None

    def test_taken_over_interface_counts_with_its_original_addresses(self) -> None:
        host = simulated(at=self.needs_ipv4)
        assert host.interfaces["eth0"].addresses == ()
        end_guest(host)
        assert names(host.converge(self.needs_ipv4)) == [actions.StartGuest]


class TestSurprises:
    """Changes that happened between two observations."""

    def test_container_that_ends_right_after_its_restart_leaves_no_symlink(self) -> None:
        host = simulated(at=TAP)
        restart_container(host)
        next(host.advance(TAP))  # the new record
        end_container(host)
        host.converge(TAP)
        assert host.netns_link is None

    def test_guest_whose_tap_was_deleted_is_restarted_on_the_new_one(self) -> None:
        host = simulated(at=SERVED)
        del host.taps["eth0"]
        taken = names(host.converge(SERVED))
        assert actions.StopGuest in taken
        assert actions.StartGuest in taken

    def test_exchanged_interface_is_a_new_interface(self) -> None:
        """docker network disconnect and connect, while no daemon ran."""
        host = simulated(at=SERVED)
        del host.taps["eth0"]
        host.docker["eth0"] = host.interfaces["eth0"] = ETH0_AGAIN
        end_guest(host)
        host.converge(SERVED)
        check_reached(host, SERVED)

    def test_tap_of_an_exchanged_interface_is_named_after_the_new_mac(self) -> None:
        host = simulated(at=TAP)
        del host.taps["eth0"]
        host.docker["eth0"] = host.interfaces["eth0"] = ETH0_AGAIN
        host.converge(TAP)
        assert host.taps["eth0"].name == "vtap110009"

    def test_guest_keeps_its_interface_when_an_earlier_one_appears(self) -> None:
        host = simulated(ETH1, at=SERVED)
        host.docker["eth0"] = host.interfaces["eth0"] = ETH0
        assert actions.StopGuest not in names(host.converge(SERVED))
        assert is_taken_over(host, ETH1)
        check_reached(host, SERVED)

    def test_connected_network_waits_for_the_guests_next_start(self) -> None:
        host = simulated(at=SERVED)
        host.docker["eth1"] = host.interfaces["eth1"] = ETH1
        assert names(host.converge(SERVED)) == [actions.WriteRecord, *ATTACH_ONE]
        end_guest(host)
        assert names(host.converge(SERVED)) == [actions.WriteRecord, actions.TakeOver, actions.StartGuest]
        check_reached(host, SERVED)

    def test_connected_network_is_plugged_into_a_guest_with_hotplug(self) -> None:
        host = simulated(at=HOTPLUG)
        host.docker["eth1"] = host.interfaces["eth1"] = ETH1
        assert names(host.converge(HOTPLUG)) == [
            *(actions.WriteRecord, *(step for step in ATTACH_ONE if step is not actions.RaiseTap)),
            *(actions.WriteRecord, actions.TakeOver, actions.RaiseTap, actions.PlugNic),
        ]
        check_reached(host, HOTPLUG)

    @pytest.mark.parametrize("desired", [SERVED, HOTPLUG])
    def test_disconnected_network_is_unplugged(self, desired: Desired) -> None:
        host = simulated(ETH0, ETH1, at=desired)
        for of in (host.interfaces, host.taps, host.docker):
            del of["eth1"]
        assert names(host.converge(desired)) == [
            actions.UnplugNic,
            actions.WriteRecord,
            actions.RemoveNode,
            actions.DenyDevice,
            actions.WriteRecord,
        ]
        check_reached(host, desired)

    def test_card_whose_plugging_failed_gives_its_address_back(self) -> None:
        host = simulated(at=HOTPLUG)
        host.docker["eth1"] = host.interfaces["eth1"] = ETH1
        host.converge(replace(HOTPLUG, guest=False))
        host.guest = Guest({0: Uplink(ETH0, host.taps["eth0"], 0)})
        assert names(host.converge(SERVED)) == [actions.GiveBack, actions.WriteRecord]
        check_reached(host, SERVED)

    def test_renamed_interface_stays_with_the_guest(self) -> None:
        host = simulated(at=SERVED)
        rename_interface(host, "eth0", "wan0")
        assert names(host.converge(SERVED)) == [actions.WriteRecord]
        assert host.guest is not None

    @pytest.mark.parametrize("reached", [TAP, SERVED])
    def test_renamed_interface_is_given_back(self, reached: Desired) -> None:
        host = simulated(at=reached)
        rename_interface(host, "eth0", "wan0")
        host.converge(NOTHING)
        check_reached(host, NOTHING)

    def test_interfaces_that_exchange_their_names_keep_their_taps(self) -> None:
        host = simulated(ETH0, ETH1, at=SERVED)
        rename_interface(host, "eth0", "x")
        rename_interface(host, "eth1", "eth0")
        rename_interface(host, "x", "eth1")
        assert names(host.converge(SERVED)) == [actions.WriteRecord]
        host.converge(NOTHING)
        check_reached(host, NOTHING)

    def test_interface_that_is_renamed_to_one_without_a_tap_is_attached_again(self) -> None:
        host = simulated(ETH0, at=TAP)
        assert host.record is not None
        host.docker["eth1"] = host.interfaces["eth1"] = ETH1
        host.record = replace(host.record, taps=(*host.record.taps, TapRecord(1, "eth1", "vtap120005")))
        del host.interfaces["eth1"], host.docker["eth1"]
        rename_interface(host, "eth0", "eth1")
        host.disturbed = True
        host.converge(NOTHING)
        check_reached(host, NOTHING)

    @pytest.mark.parametrize("desired", [TAP, SERVED, HOTPLUG, NOTHING])
    @pytest.mark.parametrize("again", [False, True], ids=["gone", "exchanged"])
    def test_tap_that_outlives_its_interface_is_deleted(self, desired: Desired, again: bool) -> None:
        """It is next to its interface, which is a macvlan."""
        host = simulated(ETH0, ETH1, at=SERVED)
        del host.interfaces["eth0"], host.docker["eth0"]
        left = host.taps["eth0"].index
        if again:
            host.left.append(host.taps.pop("eth0"))
            host.docker["eth0"] = host.interfaces["eth0"] = ETH0_AGAIN
        host.disturbed = True
        host.converge(desired)
        assert left not in {tap.index for tap in (*host.taps.values(), *host.left)}
        check_reached(host, desired)

    def test_tap_that_outlives_its_interface_without_a_number_is_deleted(self) -> None:
        """Its number was taken off the record, since another container had it, too."""
        host = simulated(at=TAP)
        assert host.record is not None
        (entry,) = host.record.taps
        host.rules, host.nodes = {FOREIGN_DEVICE}, {FOREIGN_SLOT: FOREIGN_DEVICE}
        host.record = replace(host.record, taps=(replace(entry, device=None),))
        host.left.append(host.taps.pop("eth0"))
        host.docker["eth0"] = host.interfaces["eth0"] = ETH0_AGAIN
        host.converge(TAP)
        check_reached(host, TAP)

    def test_record_of_version_0_1_is_completed(self) -> None:
        host = simulated(at=TAP)
        complete = host.record
        assert complete is not None
        (entry,) = complete.taps
        host.record = replace(complete, taps=(replace(entry, index=None, parent=None),))
        assert host.converge(TAP) == [actions.WriteRecord(complete)]

    def test_interfaces_with_similar_macs_have_a_tap_each(self) -> None:
        host = simulated(ETH0, replace(ETH1, mac="02:42:0a:11:00:02"))
        host.converge(TAP)
        assert len(host.taps) == 2


def test_new_tap_may_get_a_number_that_another_entry_still_has() -> None:
    """Both taps were deleted, and another container's new tap got the first number."""
    host = simulated(ETH0, ETH1, at=TAP)
    host.taps.clear()
    host.minors_elsewhere.add(1)
    host.converge(TAP)
    check_reached(host, TAP)


class TestReusedDeviceNumbers:
    """The kernel gives a new tap the number of a deleted one, which another container may still open."""

    def test_other_container_is_denied_the_number_and_the_tap_is_made_again(self) -> None:
        host = simulated()
        lose_neighbours_tap(host)
        assert names(host.converge(TAP)) == [
            *(actions.WriteRecord, actions.LinkNetns, actions.CreateTap, actions.RevokeDevice, actions.DeleteTap),
            *ATTACH_ONE,
        ]
        check_reached(host, TAP)

    def test_tap_made_by_a_killed_daemon_is_made_again(self) -> None:
        host = simulated()
        for action in host.advance(TAP):
            if isinstance(action, actions.CreateTap):
                break
        assert names(host.converge(TAP)) == [actions.DeleteTap, *ATTACH_ONE]

    def test_guest_on_a_suspect_tap_is_restarted_on_a_new_one(self) -> None:
        host = simulated(at=SERVED)
        assert host.record is not None
        (entry,) = host.record.taps
        host.record = replace(host.record, taps=(replace(entry, device=None),))
        taken = names(host.converge(SERVED))
        assert (
            taken.index(actions.StopGuest)
            < taken.index(actions.DeleteTap)
            < taken.index(actions.CreateTap)
            < taken.index(actions.StartGuest)
        )
        check_reached(host, SERVED)
