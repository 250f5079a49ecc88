"""Where the sick QEMU of tests/fakes/sick_qemu.c is, built so that any user can run it."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .machine import PREFIX, REPOSITORY
from .processes import run

SOURCE = REPOSITORY / "tests" / "fakes" / "sick_qemu.c"


@contextmanager
def sick_qemu() -> Iterator[Path]:
    """Its path, as long as the context lasts; the name has `qemu` in it, as observe.py expects of one."""
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}qemu-"))
    folder.chmod(0o755)
    program = folder / "sick-qemu"
    try:
        run(["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", str(program), str(SOURCE)])
        yield program
    finally:
        shutil.rmtree(folder)
