"""Describe a QEMU that was started, for the guest's record and for an operator."""

from supervisor.core.guest.addressing import network_of, notes_on_others, whereabouts_of
from supervisor.core.kinds.dns import Names
from supervisor.core.kinds.network import names_left_out
from supervisor.core.record import ProcessRecord
from supervisor.edges.kernel.process import Process
from supervisor.guest.launch_request import Launch
from supervisor.guest.preparation import Prepared


def record_of_start(start: Launch, prepared: Prepared, child: Process, spawned_at_s: float) -> ProcessRecord:
    """Return the record of a QEMU that `launch` has started, but for the servers of its shares."""
    plan, boot = start.plan, prepared.boot
    return ProcessRecord(
        child.pid,
        child.start_ticks,
        spawned_at_s,
        plan.kind.name,
        tuple(prepared.arguments),
        tuple(card.slot for card in start.cards),
        whereabouts=whereabouts_of(boot.network or prepared.network, plan.kind.ip_versions or (4, 6)),
        because=plan.because,
        notes=(*_notes(start, prepared), *notes_on_others(start.step.others, plan.needed_versions)),
        terms=prepared.terms,
        oom_kills=prepared.oom_kills,
        identity=prepared.identity,
        folder=prepared.folder.identity if start.folder is not None else "",
        path=prepared.folder.path if start.folder is not None else "",
        program=prepared.program,
        sockets=start.paths.variant,
    )


def _notes(start: Launch, prepared: Prepared) -> list[str]:
    """Return what an operator should know of this start, a sentence each."""
    plan = start.plan
    notes = [*start.plan.notes, *prepared.boot.notes]
    if prepared.network is None:
        notes += names_left_out(network_of((), start.container, Names()))
    if prepared.descriptors.log is None:
        notes.append("The guest's console is in no log: the container's init has no pipe or terminal as its output.")
    if plan.spec.screen and plan.kind.uses_screen:
        notes.append(
            f"With vtapd.screen=true the console of a {plan.kind.name} guest is on its screen: "
            "docker logs stays empty, and only vtapd.alive notices that the guest has ended."
        )
    return notes
