"""Check label values against the container, the operator's policy and each other. A refusal names the label."""

from supervisor.core.container import Container
from supervisor.core.guest import label_table as table
from supervisor.core.guest.idle_spec import SUSPEND
from supervisor.core.guest.qemu_argv import has_vga
from supervisor.core.guest.spec import DISK, Disk, Environment, GuestPolicy, GuestSpec, Share
from supervisor.core.kinds.refusal import refused
from supervisor.core.units import MIB
from supervisor.errors import Rejected, Step

_STATE_OF_SHARES = "QEMU cannot save the state of a share"


def refuse(container: Container, label: str, value: str, allowed: str) -> Rejected:
    """Return the error to raise. Its message names the container, the label, the value and what is allowed."""
    error = refused(label, value, allowed)
    error.concern(f"container {container.name}")
    return error


def memory_mib(container: Container, policy: GuestPolicy, asked_bytes: int | None, spec: GuestSpec) -> int:
    """Return the guest's memory: the label's, else what the container's limit leaves, else the configuration's.

    A snapshot has a copy of the memory, and is taken by another QEMU.
    """
    limit_mib = container.memory_limit_bytes // MIB
    overhead_mib = policy.overhead_mib * (1 + spec.snapshot + spec.standby)
    room_mib = (limit_mib - overhead_mib) // (1 + spec.snapshot)
    halved = ", halved for the snapshot" if spec.snapshot else ""
    why = f"the container's limit of {limit_mib}M less {overhead_mib}M for QEMU itself{halved}"
    if asked_bytes is None:
        if not limit_mib:
            return policy.memory_mib
        if room_mib < 1:
            raise Rejected(
                f"container {container.name}: no memory is left for a guest: {why}",
                step=Step.LABELS,
                remedy=f"start it with --memory {overhead_mib + policy.memory_mib * (1 + spec.snapshot)}m or more",
            )
        return min(room_mib, policy.max_memory_mib)
    asked_mib = asked_bytes // MIB
    shown = container.labels[table.MEMORY.key]
    if limit_mib and asked_mib > room_mib:
        raise refuse(container, table.MEMORY.key, shown, f"at most {max(room_mib, 0)}M: {why}")
    if not 1 <= asked_mib <= policy.max_memory_mib:
        lacks_unit = shown.isdecimal() and 1 <= asked_bytes <= policy.max_memory_mib
        unit = f"; the unit is missing: {shown} means bytes, write {shown}M" if lacks_unit else ""
        raise refuse(container, table.MEMORY.key, shown, f"1M to {policy.max_memory_mib}M ([limits] memory){unit}")
    return asked_mib


def environment(container: Container, asked: bool | tuple[str, ...]) -> Environment:
    """Return the variables that `vtapd.env` asks for."""
    if isinstance(asked, bool):
        return Environment(container.env) if asked else Environment()
    lacking = set(asked) - {name for name, _ in container.env}
    if lacking or len(set(asked)) < len(asked):
        # The text after a `=` is a value, which may be a password: never show it.
        names = [name.partition("=")[0] for name in asked]
        why = f"; it has no {min(lacking).partition('=')[0]!a}" if lacking else ", each once"
        allowed = f"true, false, or names of the container's variables with commas between them{why}"
        raise refuse(container, table.ENV.key, ",".join(names), allowed)
    return Environment(tuple(each for each in container.env if each[0] in asked), asked)


def accelerator(container: Container, policy: GuestPolicy, asked: str | None) -> str:
    """Return the accelerator, which must be one that the policy allows."""
    accel = policy.accel if asked is None else asked
    if asked is not None and asked not in ("auto", *policy.accels):
        raise refuse(container, table.ACCEL.key, asked, " or ".join(("auto", *policy.accels)))
    return policy.accels[0] if accel == "auto" and len(policy.accels) == 1 else accel


def check_cpus(container: Container, policy: GuestPolicy, cpus: int) -> None:
    """Refuse more processors than the policy allows."""
    if not 1 <= cpus <= policy.max_cpus:
        shown = container.labels[table.CPUS.key]
        raise refuse(container, table.CPUS.key, shown, f"1 to {policy.max_cpus} ([limits] cpus)")


def check_disks(container: Container, policy: GuestPolicy, disks: tuple[Disk, ...]) -> None:
    """Refuse too many disks, and an image that makes a disk qcow2: such a file can name other files of the host."""
    if len(disks) > policy.max_disks:
        label = f"{DISK}{disks[-1].number}"
        raise refuse(container, label, container.labels[label], f"up to {policy.max_disks} disks ([limits] disks)")
    for label, disk in ((f"{DISK}{disk.number}", disk) for disk in disks):
        if disk.format != "raw" and label in container.image_labels:
            allowed = "format=raw from an image; format=qcow2 must come from docker run --label"
            raise refuse(container, label, container.labels[label], allowed)


def check_shares(container: Container, policy: GuestPolicy, shares: tuple[Share, ...]) -> None:
    """Refuse too many shares, and two with the same tag."""
    if len(shares) > policy.max_shares:
        label = shares[-1].label
        raise refuse(container, label, container.labels[label], f"up to {policy.max_shares} shares ([limits] shares)")
    tags: set[str] = set()
    for share in shares:
        if share.tag in tags:
            value = container.labels[share.label]
            raise refuse(container, share.label, value, f"a tag that no other share has; {share.tag} is taken")
        tags.add(share.tag)


def check_screen(container: Container, spec: GuestSpec) -> None:
    """Refuse a screen on a machine that has no VGA card."""
    if spec.screen and spec.machine is not None and not has_vga(spec.machine):
        allowed = f"false with vtapd.machine={spec.machine}, which has no VGA"
        raise refuse(container, table.SCREEN.key, "true", allowed)


def check_snapshot(container: Container, spec: GuestSpec) -> None:
    """Refuse a snapshot of a guest that is never ready, and one that would leave out a part of the guest's state."""
    if not spec.snapshot:
        return
    shares = [share.label for share in spec.shares]
    written = [f"{DISK}{disk.number}" for disk in spec.disks if not disk.read_only]
    for is_so, allowed in (
        (spec.ready is None, "off without vtapd.ready, which says when the snapshot is taken"),
        (written, f"off with {', '.join(written)}: the disk would not be restored; add :ro to it"),
        (shares, f"off with {', '.join(shares)}: {_STATE_OF_SHARES}"),
    ):
        if is_so:
            raise refuse(container, table.SNAPSHOT.key, container.labels[table.SNAPSHOT.key], allowed)


def check_questions(container: Container, spec: GuestSpec) -> None:
    """Refuse checks over the network if the guest's address is not known."""
    if spec.address.mode not in ("dhcp", "none"):
        return
    over_network = (
        (table.READY.key, spec.ready is not None and spec.ready.probe is not None),
        (table.ALIVE.key, spec.alive is not None),
    )
    for label in (label for label, is_asked in over_network if is_asked):
        allowed = f"console:REGEX or none for vtapd.ready, and no vtapd.alive, with vtapd.address={spec.address.mode}"
        raise refuse(container, label, container.labels[label], f"{allowed}: vtapd does not know where to ask")


def check_idle(container: Container, spec: GuestSpec) -> None:
    """Refuse sleep that nothing could end, and a state that QEMU does not save."""
    if spec.idle is None:
        return
    if spec.address.mode in ("dhcp", "none"):
        allowed = f"off with vtapd.address={spec.address.mode}: vtapd does not know which packets are for the guest"
    elif spec.shares and spec.idle.mode == SUSPEND:
        allowed = f"off, or a duration with ,stop, with {spec.shares[0].label}: {_STATE_OF_SHARES}"
    else:
        return
    raise refuse(container, table.IDLE.key, container.labels[table.IDLE.key], allowed)
