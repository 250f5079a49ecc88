"""Have QEMU build a machine without a guest, to learn whether it can, and what it says if it cannot."""

import os
import subprocess
from collections.abc import Sequence

import anyio

from supervisor.core.container import User
from supervisor.core.formats.qemu_stderr import last_complaint
from supervisor.errors import Step, Transient

DEADLINE_S = 20.0
"""Usually it takes less than a tenth of a second."""
_QUIT = b'{"execute": "qmp_capabilities"}\n{"execute": "quit"}\n'


async def complaint_about(arguments: Sequence[str], user: User) -> str:
    """Return why QEMU does not build the machine of these arguments; empty if it does.

    The arguments have to make it obey QMP on its standard input. Raises Transient if it cannot be run, or does not end.
    """
    program = arguments[0]
    commands, writing = os.pipe2(os.O_CLOEXEC)
    try:
        os.write(writing, _QUIT)  # it fits into the pipe, and a QEMU that ends at once breaks nothing
        with anyio.fail_after(DEADLINE_S):
            result = await anyio.run_process(
                arguments,
                stdin=commands,
                check=False,
                stdout=subprocess.DEVNULL,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
                user=user.uid,
                group=user.gid,
                extra_groups=user.groups,
            )
    except TimeoutError as error:
        message = f"{program!a} does not build a machine within {DEADLINE_S:g} s"
        raise Transient(message, step=Step.QEMU, remedy="is the machine overloaded?") from error
    except OSError as error:
        raise Transient(f"cannot start {program!a}: {error.strerror or error}", step=Step.QEMU) from error
    finally:
        os.close(commands)
        os.close(writing)
    if result.returncode == 0:
        return ""
    return last_complaint(result.stderr.decode(errors="replace")) or f"it ends with status {result.returncode}"
