"""The kinds of guests and the reasons of an exit, from the tables that the daemon uses."""

from supervisor.core.guest.restart import EXIT_REASONS
from supervisor.core.kinds import KINDS
from supervisor.core.kinds.kind import GuestKind, Stop
from tests.docs.markdown import heading, items, parts

_STOPS = {
    Stop.POWERDOWN: "presses the ACPI power button, and kills the guest after `vtapd.stop-timeout`",
    Stop.QUIT: "ends QEMU, which closes its disks; the guest cannot shut down by itself",
}


def kinds() -> str:
    """Return a subsection for each kind."""
    return parts(*(parts(heading(kind.name), items(_rows(kind).items())) for kind in KINDS.values()))


def _rows(kind: GuestKind) -> dict[str, str]:
    rows = {
        "recognised by": kind.doc.recognised,
        "network": kind.doc.network,
        "network cards": f"at most {kind.most_cards}",
        "environment": kind.doc.environment,
        "vtapd.kernel-args": kind.doc.kernel_args,
        "shares": _shares(kind),
        "ends are noticed by": kind.doc.ends,
        "stop": _STOPS[kind.stop],
    }
    return {term: f"{text[0].upper()}{text[1:]}." for term, text in rows.items()}


def _shares(kind: GuestKind) -> str:
    if not kind.shares:
        return "none"
    by = " or ".join(f"`by={protocol}`" for protocol in kind.shares)
    return f"{by}; to mount one: {kind.doc.share_mount}"


def exit_reasons() -> str:
    """Return an entry for each reason."""
    return items(EXIT_REASONS.items())
