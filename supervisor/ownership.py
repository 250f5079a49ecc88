"""See to it that one vtapd serves a run-time folder, and one vtapd a Docker daemon, as long as a context lasts."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from supervisor.config import Config
from supervisor.core.formats.docker_api import Engine
from supervisor.edges import locks
from supervisor.errors import ConfigError
from supervisor.protocol import LOCKS_DIR


@contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """Create the run-time folder and lock it. Raises ConfigError if another vtapd uses it."""
    with ExitStack() as held:
        try:
            _make_visible(folder)
            held.enter_context(locks.hold(folder / "lock", f"pid {os.getpid()}"))
        except locks.HeldError as error:
            remedy = "stop it, or choose another [attach] run_dir"
            raise ConfigError(f"another vtapd ({error.by}) runs on {folder}", remedy=remedy) from error
        except OSError as error:
            remedy = "correct [attach] run_dir" if os.geteuid() == 0 else "be root"
            raise ConfigError(f"cannot use {folder}: {error.strerror}", remedy=remedy) from error
        yield


@contextmanager
def own_docker(engine: Engine, host: str, config: Config) -> Iterator[None]:
    """Lock the Docker daemon. Raises ConfigError if another vtapd watches it: both would attach its containers."""
    about = f"pid {os.getpid()}, run_dir {config.run_dir}"
    with ExitStack() as held:
        try:
            held.enter_context(locks.hold_docker(engine.identity or host, config.control_socket, about))
        except locks.HeldError as error:
            message = f"another vtapd ({error.by}) watches the Docker at {host}"
            raise ConfigError(message, remedy="stop it: one vtapd serves all containers of a Docker") from error
        except OSError as error:
            raise ConfigError(f"cannot lock {LOCKS_DIR}: {error.strerror}", remedy="let vtapd write to /run") from error
        yield


def _make_visible(folder: Path) -> None:
    """Create the folder if it is missing, whatever the umask: the control socket's group must be able to enter it."""
    for path in (*reversed(folder.parents), folder):
        if not path.is_dir():
            path.mkdir()
            path.chmod(0o755)
