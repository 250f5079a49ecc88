"""`auto` is decided again when QEMU or /dev/kvm is another one."""

import os
from pathlib import Path

import anyio
import pytest

from supervisor.core.container import User
from supervisor.edges.qemu import kvm_probe
from supervisor.guest.accelerator import Accelerator

USER = User("nobody", os.getuid(), os.getgid(), ())
COUNTING = "#!/bin/sh\necho tested >>{counted}\nexit {status}\n"


def test_auto_is_tested_once_for_each_program_and_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, counted, device = tmp_path / "qemu", tmp_path / "counted", tmp_path / "kvm"
    monkeypatch.setattr(kvm_probe, "_DEVICE", str(device))
    accelerator = Accelerator(str(program), USER)

    def choose(status: int) -> tuple[str, int]:
        """Choose with a QEMU that ends so. Return the choice, and how often it was tested."""
        if not program.exists() or f"exit {status}" not in program.read_text():
            program.write_text(COUNTING.format(counted=counted, status=status))
            program.chmod(0o755)
        chosen = anyio.run(accelerator.choose, "auto")
        return chosen, len(counted.read_text().splitlines())

    assert choose(1) == ("tcg", 1)
    assert choose(1) == ("tcg", 1)
    device.touch(0o600)
    assert choose(1) == ("tcg", 2)
    device.chmod(0o660)
    assert choose(1) == ("tcg", 3)
    assert choose(3) == ("kvm", 4)
    assert choose(3) == ("kvm", 4)
    assert anyio.run(accelerator.choose, "tcg") == "tcg"
