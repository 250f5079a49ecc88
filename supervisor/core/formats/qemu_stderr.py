"""What QEMU writes to standard error: find the message that says why it ended."""

import re

_PROGRAM = re.compile(r"^qemu-system-[\w-]+: ")
_INFORMS = ": info: "
_MOST_CHARS = 300


def last_complaint(text: str) -> str:
    """Return QEMU's last error message, without the hints that may follow it; empty if it wrote nothing."""
    lines = [line for line in text.strip().splitlines() if _INFORMS not in line]
    complaints = [_PROGRAM.sub("", line) for line in lines if _PROGRAM.match(line)]
    return next(reversed(complaints or lines), "")[:_MOST_CHARS]
