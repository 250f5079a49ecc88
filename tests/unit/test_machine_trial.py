"""Settings that QEMU may refuse, and the message that names one of them."""

from dataclasses import replace

import pytest

from supervisor.core.guest.machine_trial import is_unusual, refusal, suspects
from supervisor.core.guest.qemu_argv import trial_arguments
from supervisor.core.guest.spec import Disk, GuestSpec
from supervisor.core.kinds import KINDS
from supervisor.core.kinds.kind import Machine

PLAIN = GuestSpec(kernel="/k", memory_mib=64)
ALL = GuestSpec(kernel="/k", memory_mib=128, machine="microvm", cpus=2, screen=True, accel="kvm")


def test_defaults_are_not_tried() -> None:
    assert not is_unusual(PLAIN)
    assert not is_unusual(GuestSpec(kernel="/k", memory_mib=128))
    assert is_unusual(replace(PLAIN, accel="kvm"))
    assert is_unusual(ALL)


def test_each_suspect_is_the_only_setting_that_is_left_out() -> None:
    found = {suspect.label: suspect for suspect in suspects(ALL, "kvm")}
    assert list(found) == ["vtapd.machine", "vtapd.cpus", "vtapd.accel", "vtapd.screen", "vtapd.memory"]
    assert found["vtapd.accel"].without == ALL
    assert found["vtapd.accel"].accel == "tcg"
    assert found["vtapd.machine"].without.machine is None
    assert found["vtapd.machine"].accel == "kvm"
    assert not list(suspects(PLAIN, "tcg"))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["vtapd.machine"], "label vtapd.machine='microvm' is refused; allowed is one of this QEMU's machine types"),
        ([], "QEMU refuses machine microvm of the configuration or the container's limit: no PCI"),
    ],
)
def test_refusal_names_the_setting(labels: list[str], message: str) -> None:
    error = refusal(next(suspects(ALL, "tcg")), "no PCI", labels)
    assert message in str(error)
    assert "no PCI" in str(error)


def test_refusal_without_a_culprit() -> None:
    assert "QEMU refuses its machine: it is ill" in str(refusal(None, "it is ill", ()))


def test_arguments_of_a_trial_have_no_descriptor_and_no_file() -> None:
    disks = GuestSpec(kernel="/k", memory_mib=64, disks=(Disk(0, "/d"),))
    for spec in (PLAIN, ALL, disks):
        words = trial_arguments("qemu", spec, "tcg", KINDS["rumprun"].machine)
        assert words[:2] == ["qemu", "-S"]
        assert "-kernel" not in words
        assert not any("fd" in word for word in words)
        assert any("null-co" in word for word in words) == bool(spec.disks)
    assert any("null-co" in word for word in trial_arguments("qemu", PLAIN, "tcg", Machine(boots_disk=True)))
