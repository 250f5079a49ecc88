"""What the daemon and its commands agree on: where the control socket is, and how long an answer may take.

Both import this. It imports nothing, so that a command answers at once.
"""

CONFIG_PATH = "/etc/vtapd/vtapd.toml"
RUN_DIR = "/run/vtapd"
"""The default of [attach] run_dir."""
SOCKET_NAME = "control.sock"
"""The control socket's file name in the run-time folder."""

LOCKS_DIR = "/run/vtapd-locks"
"""Where each daemon has the lock of its Docker, and next to it a symlink NAME.sock to its control socket."""

CONVERGE_S = 60.0
"""How long the daemon works on `attach` and `detach` before it reports a failure."""
START_S = 60.0
"""How long the daemon waits for a guest that it was asked to start."""
STOP_S = 30.0
"""How long the daemon waits for a guest to end, in addition to the guest's `vtapd.stop-timeout`."""
REFRESH_S = 120.0
"""How long the daemon waits for a guest that is moved to another QEMU."""
ANSWER_MARGIN_S = 40.0
"""How much longer a command waits than the daemon works, so that the daemon's own message arrives first."""

EVENTS_BEAT_S = 10.0
"""The longest silence of the daemon towards a follower of events: it sends an empty line."""
EVENTS_SILENCE_S = 60.0
"""The silence after which `vtapd events` considers the daemon dead."""
