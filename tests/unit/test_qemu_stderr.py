"""The message of QEMU that says why it ended."""

import pytest

from supervisor.core.formats.qemu_stderr import last_complaint


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", ""),
        ("qemu: invalid kernel header\n", "qemu: invalid kernel header"),
        (
            (
                "qemu-system-x86_64: warning: slow\nqemu-system-x86_64: unsupported machine type\n"
                "Use -machine help to list supported machines\n"
            ),
            "unsupported machine type",
        ),
        ("qemu-system-aarch64: no\nqemu-system-aarch64: info: nothing\n", "no"),
        ("x" * 1000, "x" * 300),
    ],
)
def test_last_complaint(text: str, complaint: str) -> None:
    assert last_complaint(text) == complaint
