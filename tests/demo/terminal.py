"""What the demo prints, and how it runs commands, waits and fails."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

Result = TypeVar("Result")

COMMAND_TIMEOUT_S = 60.0
POLL_S = 0.005

_COLOURED = sys.stdout.isatty() and "NO_COLOR" not in os.environ


class DemoError(Exception):
    """A step did not do what it should; the message is all that the reader sees."""


def _styled(code: str, text: str) -> str:
    return f"\033[{code}m{text}\033[0m" if _COLOURED else text


def headline(text: str) -> None:
    print("\n" + _styled("1", f"── {text}"), flush=True)


def show_command(command: str) -> None:
    """Print a command as the reader could type it."""
    print(_styled("36", f"$ {command}"), flush=True)


def show_text(text: str) -> None:
    print(text, flush=True)


def show_time(what: str, seconds: float, note: str = "") -> None:
    digits = 0 if seconds >= 0.01 else 1
    amount = f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.{digits}f} ms"
    print(f"  {what:<24}{_styled('32', f'{amount:>9}')}  {_styled('2', note)}", flush=True)


def show_output(text: str, most: int = 40) -> None:
    lines = text.rstrip().splitlines()
    for line in lines[:most]:
        print(f"  {line}")
    if len(lines) > most:
        print(f"  … {len(lines) - most} lines more")
    sys.stdout.flush()


def require(fact: object, otherwise: str) -> None:
    if not fact:
        raise DemoError(otherwise)


def run(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, check: bool = True, pass_fds: Sequence[int] = ()
) -> str:
    """Run a command and return its output. With `check`, a failure ends the demo and shows the output."""
    try:
        done = subprocess.run(
            argv, env=env, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False, pass_fds=pass_fds
        )
    except subprocess.TimeoutExpired as error:
        raise DemoError(f"{' '.join(argv)}: no end within {COMMAND_TIMEOUT_S:g} s") from error
    except FileNotFoundError as error:
        raise DemoError(f"{argv[0]} is not installed; `make demo` installs what is missing") from error
    require(not check or done.returncode == 0, f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return str(done.stdout)


def eventually(check: Callable[[], Result], what: str, deadline_s: float) -> Result:
    """Return the first truthy result. A check that raises OSError is tried again."""
    until = time.monotonic() + deadline_s
    problem = ""
    while time.monotonic() < until:
        try:
            if result := check():
                return result
        except OSError as error:
            problem = f": {error}"
        time.sleep(POLL_S)
    raise DemoError(f"not within {deadline_s:g} s: {what}{problem}")
