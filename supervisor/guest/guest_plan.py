"""Check that a container's guest can be started, before anything of the container is changed."""

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from supervisor.core.container import Container, ContainerHandles
from supervisor.core.guest.machine_trial import is_unusual
from supervisor.core.guest.needs import check_memory, check_threads
from supervisor.core.guest.spec import GuestSpec
from supervisor.core.kinds import MARKERS, choose_kind, require_bootable
from supervisor.core.kinds.kind import BootRequest, GuestKind
from supervisor.core.kinds.network import GuestNetwork
from supervisor.core.kinds.refusal import refused
from supervisor.core.kinds.shares import SharedFolder, shared_folders
from supervisor.core.links import Interface
from supervisor.edges import threads
from supervisor.edges.kernel import cgroups, rootfs
from supervisor.errors import Rejected, Step
from supervisor.guest.boot_files import Disks, open_disks, open_initrd, open_kernel, own
from supervisor.guest.context import GuestContext
from supervisor.guest.network_config import expect_network
from supervisor.guest.shares import VIRTIOFS, check_shares

_SHOWN_CHARS = 100


@dataclass(frozen=True, slots=True)
class GuestPlan:
    """A validated guest: labels parsed, image inspected."""

    spec: GuestSpec
    kind: GuestKind
    because: str = ""
    """Why this kind was chosen, for people."""
    room_bytes: int | None = None
    """How long its command line may be; None for any length."""
    notes: tuple[str, ...] = ()
    """For people: one sentence for each wish that the guest does not get."""
    least_bytes: int = 0
    """How much memory the kernel and the initrd take, at the least."""

    @property
    def needed_versions(self) -> tuple[int, ...]:
        """The IP versions of which each card must have an address for the guest; empty if it gets no addresses."""
        return self.kind.ip_versions if self.spec.address.takes_over else ()

    def boot_request(self, network: GuestNetwork | None, disks: Disks) -> BootRequest:
        """Return what the guest is to get at its start."""
        spec = self.spec
        return BootRequest(spec.args, spec.kernel_args, network, spec.env, disks.mounts, self.shares, self.room_bytes)

    @property
    def shares(self) -> tuple[SharedFolder, ...]:
        """The folders that it shares. Raises Rejected if its kind cannot have one of them."""
        return shared_folders(self.spec.shares, self.kind.name, self.kind.shares)


async def examine(
    context: GuestContext,
    handles: ContainerHandles,
    spec: GuestSpec,
    container: Container,
    interfaces: Iterable[Interface],
) -> GuestPlan:
    """Read the image, choose the kind, and try to build the command line that the guest would get, and its machine.

    `interfaces`: the container's, as Docker made them. Raises Rejected if its files cannot be used, if its kind
    cannot be given its arguments and its network, or if its QEMU cannot be started.
    """
    root = handles.root
    plan, disks = await examine_files(root, spec, context.config.limits.kernel)
    check_memory(container, spec, plan.least_bytes)
    plan = _with_words(plan, container.words)
    plan.kind.boot(plan.boot_request(expect_network(root, container, spec.address, plan.kind, interfaces), disks))
    await check_shares(context, handles, plan.shares)
    has_disks = bool(spec.disks) or any(share.by != VIRTIOFS for share in plan.shares) or plan.kind.machine.boots_disk
    servers = sum(share.by == VIRTIOFS for share in plan.shares)
    check_threads(cgroups.observe_pids_limit(handles.cgroup), spec.cpus, has_disks=has_disks, servers=servers)
    if is_unusual(spec):
        accel = await context.accelerator.choose(spec.accel)
        await context.trials.check(container, spec, accel, plan.kind.machine)
    return plan


def _with_words(plan: GuestPlan, words: Sequence[str]) -> GuestPlan:
    """Let the container's command be the guest's. Raises Rejected if the kind's command line cannot carry it."""
    if not words:
        return plan
    if plan.spec.args:
        return replace(plan, notes=("Not passed to the guest: the container's command, because vtapd.args is set.",))
    try:
        return replace(plan, spec=replace(plan.spec, args=plan.kind.format_words(words)))
    except ValueError as error:
        shown = ascii(" ".join(words))[:_SHOWN_CHARS]
        raise Rejected(
            f"the container's command {shown} cannot be passed to a {plan.kind.name} guest",
            step=Step.LABELS,
            remedy=f"allowed are {error}; or write the guest's command line in vtapd.args",
        ) from None


async def examine_files(root: int, spec: GuestSpec, limit_bytes: int) -> tuple[GuestPlan, Disks]:
    """Read the image and choose the kind. The descriptors of the disks are closed when this returns.

    Raises Rejected if a file cannot be used.
    """
    with ExitStack() as owned:
        kernel = own(owned, open_kernel(root, spec, limit_bytes))
        initrd = own(owned, open_initrd(root, spec, spec.initrd, limit_bytes)) if spec.initrd else None
        disks = await open_disks(owned, root, spec)
        examined = await threads.run_in_thread(partial(rootfs.read_image, kernel, MARKERS, limit_bytes))
        initrd_bytes = 0 if initrd is None else os.fstat(initrd).st_size
    image = require_bootable(examined, spec.kernel)
    kind, because = choose_kind(spec.kind, image, spec.kernel)
    if spec.initrd and kind.machine.boots_disk:
        raise refused("vtapd.initrd", spec.initrd, "nothing: the image is a disk, which is booted without modules")
    if spec.snapshot and kind.machine.boots_disk:
        raise refused("vtapd.snapshot", spec.snapshot_label, "off: the image is a disk, which the guest writes to")
    least_bytes = image.end + initrd_bytes
    return GuestPlan(spec, kind, because, kind.room_bytes(image), least_bytes=least_bytes), disks
