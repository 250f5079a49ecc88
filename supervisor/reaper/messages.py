"""The messages between the daemon and the reaper: one packet of JSON each, on a Unix socket of type SOCK_SEQPACKET.

A reaper that an older version started may answer a newer daemon. So a message `exit` never changes, and whatever
changes a `spawn` gets another PROTOCOL: then the daemon starts a reaper of its own version, and the older one goes on.

    hello                   → {"protocol": PROTOCOL, "pid": …}
    exit, pid, start_ticks  → {"known": false}, or once it has exited the report: {"known": true, …}
    spawn                   → {"pid": …, "start_ticks": …} with a pidfd, or {"step": …, "errno": …}
    namespace, inside, outside → {} with a user namespace, or {"errno": …}

With `spawn` comes a memory file that holds the order as JSON, since arguments can be longer than a packet. All other
descriptors follow it, and the order refers to them by their position. A reaper kills a QEMU whose daemon went away
before it could read the answer. Its connection is closed to the daemon only when no half-started QEMU is left either:
that has a duplicate of it until it is QEMU.
"""

PROTOCOL = 2
SOCKET_NAME = "reaper.sock"
"""The reaper's file name in the run-time folder."""
MOST_PACKET_BYTES = 1 << 18
"""More than any report takes: its text is bounded, and JSON makes at most six bytes of one."""
MOST_DESCRIPTORS = 253  # include/net/scm.h: SCM_MAX_FD
HELLO, SPAWN, EXIT, NAMESPACE = "hello", "spawn", "exit", "namespace"

STEP_FORK, STEP_NAMESPACE, STEP_USER, STEP_EXEC = "fork", "namespace", "user", "exec"
"""What of a `spawn` failed."""
