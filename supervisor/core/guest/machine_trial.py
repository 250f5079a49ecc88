"""Which settings of a guest QEMU may refuse, and the message that names the one that it refuses."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from supervisor.core.guest.spec import GuestSpec
from supervisor.core.kinds.refusal import refused
from supervisor.errors import Rejected, Step

_USUAL_MEMORY_MIB = 64
_PCI_MACHINE = "one of this QEMU's machine types that has a PCI bus, such as pc or q35 (see: -machine help)"
_ACCEPTED = "what this QEMU accepts"


@dataclass(frozen=True, slots=True)
class Suspect:
    """A setting that may be why QEMU refuses the machine."""

    label: str
    value: str
    without: GuestSpec
    """The guest without this setting."""
    accel: str
    """The accelerator without this setting."""
    allowed: str = _ACCEPTED


def is_unusual(spec: GuestSpec) -> bool:
    """Return whether QEMU may refuse the machine: with the defaults of its kind it does not.

    Of `auto`, vtapd knows that the accelerator works.
    """
    return spec.machine is not None or spec.cpus > 1 or spec.screen or spec.accel == "kvm"


def suspects(spec: GuestSpec, accel: str) -> Iterator[Suspect]:
    """Yield the settings that differ from those that every QEMU accepts."""
    if spec.machine is not None:
        yield Suspect("vtapd.machine", spec.machine, replace(spec, machine=None), accel, _PCI_MACHINE)
    if spec.cpus > 1:
        yield Suspect("vtapd.cpus", str(spec.cpus), replace(spec, cpus=1), accel)
    if spec.accel == "kvm":
        yield Suspect("vtapd.accel", accel, spec, "tcg", "tcg, or a KVM that this machine has: see vtapd check")
    if spec.screen:
        yield Suspect("vtapd.screen", "true", replace(spec, screen=False), accel)
    if spec.memory_mib > _USUAL_MEMORY_MIB:
        yield Suspect("vtapd.memory", f"{spec.memory_mib}M", replace(spec, memory_mib=_USUAL_MEMORY_MIB), accel)


def refusal(culprit: Suspect | None, complaint: str, labels: Collection[str]) -> Rejected:
    """Return the error to raise. `labels`: the container's; a setting without one is from the configuration."""
    if culprit is None:
        remedy = "correct its labels vtapd.machine, cpus, accel and screen"
        return Rejected(f"QEMU refuses its machine: {complaint}", step=Step.QEMU, remedy=remedy)
    if culprit.label in labels:
        return refused(culprit.label, culprit.value, f"{culprit.allowed}; QEMU says: {complaint}", step=Step.QEMU)
    key = culprit.label.removeprefix("vtapd.")
    message = f"QEMU refuses {key} {culprit.value} of the configuration or the container's limit: {complaint}"
    return Rejected(message, step=Step.QEMU, remedy=f"give the container the label {culprit.label}")
