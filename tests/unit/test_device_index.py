"""The index of the device numbers that containers have on record."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.container import ContainerId
from supervisor.core.devices.index import DeviceIndex
from supervisor.core.links import DeviceNumber
from supervisor.core.record import Record, TapRecord

from .examples import INCARNATION

A, B, C = (ContainerId(letter * 64) for letter in "abc")
ONE, TWO = DeviceNumber(246, 1), DeviceNumber(246, 2)


def record(container_id: ContainerId, *devices: DeviceNumber | None) -> Record:
    taps = tuple(TapRecord(slot, f"eth{slot}", f"vtap{slot}", device) for slot, device in enumerate(devices))
    return Record(container_id, "kek", INCARNATION, taps)


def test_container_does_not_count_as_its_own_conflict() -> None:
    index = DeviceIndex()
    index.note(A, record(A, ONE, TWO))
    assert index.others(ONE, A) == ()
    assert index.others(ONE, B) == index.others(TWO, B) == (A,)


def test_device_number_is_released_with_the_record_or_its_entry() -> None:
    index = DeviceIndex()
    index.note(A, record(A, ONE, TWO))
    index.note(A, record(A, None, TWO))
    assert (index.others(ONE, B), index.others(TWO, B)) == ((), (A,))
    index.note(A, None)
    assert index.others(TWO, B) == ()


def test_contested_numbers_are_listed() -> None:
    index = DeviceIndex()
    for container_id in (B, A):
        index.note(container_id, record(container_id, ONE))
    index.note(C, record(C, TWO))
    assert index.contested() == {ONE: (A, B)}


DEVICES = st.lists(st.none() | st.builds(DeviceNumber, st.just(246), st.integers(1, 4)), max_size=3)


@given(st.lists(st.tuples(st.sampled_from([A, B, C]), st.none() | DEVICES)))
def test_index_agrees_with_the_records(changes: list[tuple[ContainerId, list[DeviceNumber | None] | None]]) -> None:
    index, records = DeviceIndex(), dict.fromkeys((A, B, C), record(A))
    for container_id, devices in changes:
        records[container_id] = record(container_id, *(devices or ()))
        index.note(container_id, None if devices is None else records[container_id])
    for device in (DeviceNumber(246, minor) for minor in range(1, 5)):
        holders = [each for each in (A, B, C) if any(entry.device == device for entry in records[each].taps)]
        for each in (A, B, C):
            assert index.others(device, each) == tuple(holder for holder in holders if holder != each)
        assert index.contested().get(device, ()) == (tuple(holders) if len(holders) > 1 else ())


def test_other_changes_of_a_record_do_not_matter() -> None:
    index = DeviceIndex()
    index.note(A, record(A, ONE))
    index.note(A, replace(record(A, ONE), held=True))
    assert index.others(ONE, B) == (A,)


def test_majors_of_all_records_are_known() -> None:
    index = DeviceIndex()
    assert index.majors() == frozenset()
    index.note(A, record(A, ONE, TWO))
    assert index.majors() == {246}
