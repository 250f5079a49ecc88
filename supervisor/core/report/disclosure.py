"""Decide what the status page shows. Every user of the machine can read it, so it shows less than `vtapd inspect`.

`show` is `[metrics] show`: what an operator lets the page show in addition.
"""

import re
from collections.abc import Collection, Sequence

from supervisor.core.kinds.environment import names_variable
from supervisor.core.report.schema import ExitShape
from supervisor.core.report.status import ContainerStatus
from supervisor.errors import VtapdError
from supervisor.text import escape_controls

REASONS, CONSOLES, SCREENS = "reasons", "consoles", "screens"
_LINES, _LINE_CHARS = 40, 500
_ESCAPE_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # CSI, such as a colour (ECMA-48)
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC, such as a title
    r"|[()][0-9A-Za-z]|[=>78cDEHMNOZ])"  # character sets and modes (xterm's ctlseqs)
)


def shown_reason(status: ContainerStatus, show: Collection[str]) -> str | None:
    """Return why the container is in its state.

    The text of an error may have values of labels, and of QEMU's options. So by default an error is only named.
    """
    if REASONS in show:
        return escape_controls(status.reason) if status.reason else None
    if status.end is not None and status.state != "exited":
        return "for the reason see: vtapd inspect"
    errors = (status.error, status.guest_error, *(trouble.error for trouble in status.troubles))
    error = next((each for each in errors if each is not None), None)
    if error is not None:
        return f"{_named(error)}; for the reason see: vtapd inspect"
    if _never_ran(status):
        return "QEMU cannot start its guest; for the reason see: vtapd inspect"
    if status.guest is not None and status.guest.is_up and status.guest.answers is False:
        return "its guest does not answer vtapd.alive"
    return status.reason


def _never_ran(status: ContainerStatus) -> bool:
    """Return whether the reason is what QEMU or the daemon said of a start that failed."""
    record = status.guest_record
    if record.done is not None:
        return bool(record.failure)
    return status.qemu is None and bool(record.exits) and record.exits[-1].never_ran


def _named(error: VtapdError) -> str:
    if error.label is not None:
        return f"label {escape_controls(error.label)} is refused"
    return f"the step {error.step} failed" if error.step else "a step failed"


def shown_notes(notes: Sequence[str], show: Collection[str]) -> list[str]:
    """Return the notes, by default without those that name variables of the environment."""
    return [escape_controls(note) for note in notes if REASONS in show or not names_variable(note)]


def shown_exit(last: ExitShape | None, show: Collection[str]) -> ExitShape | None:
    """Return a guest's last end, by default without the line of the console or of QEMU that reported it."""
    if last is None:
        return None
    return {**last, "detail": escape_controls(last["detail"]) if CONSOLES in show else ""}


def last_lines(output: str) -> str:
    """Return the last lines of a console as text that controls nothing: without colours, other controls escaped."""
    lines = _ESCAPE_SEQUENCE.sub("", output[-_LINES * _LINE_CHARS :]).replace("\r", "").split("\n")
    return "\n".join(escape_controls(line.expandtabs())[:_LINE_CHARS] for line in lines[-_LINES - 1 :])
