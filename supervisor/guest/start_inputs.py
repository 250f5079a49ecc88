"""Observe what a start of QEMU depends on, and identify it, so that two starts can be compared.

A saved state belongs to one machine and its files. It can be given only to a QEMU whose start has the same identity.
"""

from contextlib import ExitStack
from dataclasses import dataclass, replace

from supervisor.core.guest.qemu_argv import build_arguments
from supervisor.core.guest.qemu_inputs import Card, Descriptors, without_numbers
from supervisor.core.guest.snapshot import identity_of
from supervisor.core.kinds.kind import Boot
from supervisor.core.kinds.network import GuestNetwork
from supervisor.core.record import Identity
from supervisor.edges.kernel import vhost
from supervisor.edges.qemu.version import stamp_of
from supervisor.errors import Permanent
from supervisor.guest.boot_files import Disks, boot_module_names, open_disks, own, stamp_files
from supervisor.guest.context import GuestContext
from supervisor.guest.launch_request import Launch
from supervisor.guest.network_config import observe_network


class Outdated(Permanent):
    """A start of now would be another one than that which a state belongs to."""


@dataclass(frozen=True, slots=True)
class StartInputs:
    """What a start depends on, in addition to its plan."""

    accel: str
    network: GuestNetwork | None
    disks: Disks
    boot: Boot
    cards: tuple[Card, ...]


async def observe_inputs(start: Launch, accel: str, opened: ExitStack) -> StartInputs:
    """Return what is there now. `opened` owns the descriptors of the disks and of vhost-net."""
    plan, root = start.plan, start.handles.root
    on = [(uplink.original, uplink.tap.mac) for uplink in start.step.uplinks]
    network = observe_network(root, start.container, plan.spec.address, plan.kind, on, start.resolver)
    disks = await open_disks(opened, root, plan.spec)
    boot = plan.kind.boot(plan.boot_request(network, disks))
    cards = tuple(_with_vhost(opened, card) for card in start.cards) if accel == "kvm" else start.cards
    return StartInputs(accel, network, disks, boot, cards)


async def identify(context: GuestContext, start: Launch) -> Identity:
    """Return the identity of a start of now."""
    accel = await context.accelerator.choose(start.plan.spec.accel)
    with ExitStack() as opened:
        return identity_of_start(context, start, await observe_inputs(start, accel, opened))


def identity_of_start(context: GuestContext, start: Launch, inputs: StartInputs) -> Identity:
    """Return what this start consists of. Raises Rejected if a file of the container cannot be used."""
    plan, program = start.plan, context.config.guest.qemu
    modules = boot_module_names(plan.spec, inputs.boot)
    fds = Descriptors(None, modules, inputs.disks.files, inputs.cards, qmp=0, console=0, events=0, log=None)
    arguments = build_arguments(
        program,
        start.container.id,
        plan.spec,
        inputs.accel,
        plan.kind.machine,
        inputs.boot,
        without_numbers(fds),
    )
    files = stamp_files(start.handles.root, plan.spec, inputs.disks, context.config.limits.kernel)
    return identity_of(arguments, inputs.boot.modules, {**files, "QEMU": stamp_of(program)})


def _with_vhost(opened: ExitStack, card: Card) -> Card:
    """Add vhost-net if the machine has it. Only a guest that runs on KVM gains from it."""
    return replace(card, vhosts=tuple(own(opened, each) for each in vhost.open_vhosts(len(card.queues))))
