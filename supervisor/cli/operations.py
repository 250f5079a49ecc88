"""The commands that make the daemon change something: attach, detach, stop, start, kill, suspend, wake and others."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import click

from supervisor.cli.client import ask, ask_each, get, report, url_of
from supervisor.cli.options import json_option, names_argument, names_or_all
from supervisor.protocol import ANSWER_MARGIN_S, CONVERGE_S, REFRESH_S, START_S, STOP_S
from supervisor.text import escape_controls

_DETAILS_S = 10.0
_HELP = """{description}

Several containers are worked on at the same time. If one fails, the others are still done.

\b
Exit codes:
  0  done
  1  one failed; the message on standard error says why

\b
Examples:
  # vtapd {verb} web db
  # vtapd {verb} --json web | jq -r .state
"""


class Operation(NamedTuple):
    """One operation of the daemon on one container."""

    verb: str
    progress: str
    """What a terminal shows meanwhile."""
    daemon_s: float
    """How long the daemon works on it at most."""
    ends_guest: bool
    """Whether the guest's own stop timeout comes on top of that."""
    description: str


OPERATIONS = (
    Operation(
        "attach",
        "attaching",
        CONVERGE_S,
        False,
        """Attach a detached container again.

        If its guest had exited for good, a new one is started.""",
    ),
    Operation(
        "detach",
        "detaching",
        CONVERGE_S,
        False,
        """Detach a container and undo all changes to it.

        Its guest is stopped, gracefully if its kind can be, and the container gets its own network back. vtapd ignores
        the container until it is attached again or restarted.""",
    ),
    Operation(
        "stop",
        "stopping",
        STOP_S,
        True,
        """Stop a guest. Its container keeps running.

        The guest is stopped gracefully if its kind can be, and killed after its `vtapd.stop-timeout`. It stays stopped,
        whatever its restart policy, until `vtapd start` or until the container itself is started again. Meanwhile the
        container has its own address back.""",
    ),
    Operation(
        "start",
        "starting",
        START_S,
        False,
        """Start a guest that is stopped, exited, failed or in backoff.

        It starts at once. The command returns when the guest runs. It does nothing if the guest runs already.""",
    ),
    Operation(
        "kill",
        "killing",
        STOP_S,
        False,
        """Kill a guest at once, without a graceful stop. Its container keeps running.

        What the guest has not written to its disks is lost. As after `vtapd stop`, it stays stopped until
        `vtapd start`. It also ends a `vtapd stop` that takes too long.""",
    ),
    Operation(
        "suspend",
        "putting to sleep",
        STOP_S,
        True,
        """Put a guest to sleep at once.

        Its state is kept on disk, and it uses neither memory nor processor time. With the label `vtapd.idle=…,stop` it
        is stopped instead. The first packet for it wakes it. See SLEEP in vtapd-guests(7).""",
    ),
    Operation(
        "wake",
        "waking",
        START_S,
        False,
        """Wake a guest that sleeps.

        The command returns when the guest runs. It does nothing if the guest is awake.""",
    ),
    Operation("restart", "restarting", STOP_S + START_S, True, """Stop a guest and start it again."""),
    Operation(
        "refresh",
        "moving",
        REFRESH_S,
        False,
        """Move a running guest to the QEMU that is installed now.

        After an update of QEMU, guests run on in the QEMU that they were started with; `vtapd check` and
        `vtapd inspect` say so. The guest is paused while its memory is copied, some tenths of a second, and keeps its
        connections. If the new QEMU does not take it over, it runs on as it was. So does a guest with a share
        (`vtapd.share.N`), whose state QEMU cannot save. A snapshot (`vtapd.snapshot`) ends; the next start takes one
        again. A guest that sleeps is left asleep: it boots in the new QEMU when it is woken.""",
    ),
)


def command_of(operation: Operation) -> click.Command:
    """Return the command of an operation. All of them take NAMEs and print each container's new state."""

    @click.command(operation.verb, help=_HELP.format(description=_unindent(operation.description), verb=operation.verb))
    @(names_or_all if operation.verb == "refresh" else names_argument)
    @json_option
    @click.pass_obj
    def command(socket_path: str, names: tuple[str, ...], as_json: bool, all_guests: bool = False) -> None:
        if all_guests:
            rows = ask(socket_path, "/containers")
            names = tuple(row["name"] for row in rows if row["qemu_replaced"])
        elif not names:
            raise click.UsageError("Missing argument 'NAME...', or --all.")
        if not names:
            return
        refusals: list[str] = []
        with _progress(f"{operation.progress} {escape_controls(', '.join(names))}") as succeeds:
            deadline_s = operation.daemon_s + ANSWER_MARGIN_S
            if operation.ends_guest:
                deadline_s += max(_stop_timeout_s(socket_path, name) for name in names)
            urls = [url_of(name, operation.verb) for name in dict.fromkeys(names)]
            answers = list(ask_each(socket_path, urls, "POST", deadline_s, refusals.append))
            succeeds(any(answers))
        for refusal in refusals:
            report(refusal)
        for answer in filter(None, answers):
            summary = escape_controls(f"{answer['name']} is {answer['state']}")
            click.echo(json.dumps(answer, indent=2) if as_json else summary)
        if None in answers:
            sys.exit(1)

    return command


def _stop_timeout_s(socket_path: str, name: str) -> float:
    """Return the stop timeout of the container's guest; 0 if it has none, or there is no such container."""
    found = get(socket_path, url_of(name), _DETAILS_S)
    return float(found["guest"]["stop_timeout_s"]) if found and found["guest"] else 0.0


def _unindent(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())


@contextmanager
def _progress(doing: str) -> Iterator[Callable[[bool], None]]:
    """On a terminal, print what is being done and how long it took.

    Yields a function that is called with whether it was done. Without that call it has failed.
    """
    began, done = time.monotonic(), False

    def succeeds(has_succeeded: bool) -> None:
        nonlocal done
        done = has_succeeded

    shown = sys.stderr.isatty()
    if shown:
        click.echo(f"{doing} … ", err=True, nl=False)
    try:
        yield succeeds
    finally:
        if shown:
            click.echo(f"done after {time.monotonic() - began:.1f} s" if done else "failed", err=True)


attach, detach, stop, start, kill, suspend, wake, restart, refresh = map(command_of, OPERATIONS)
