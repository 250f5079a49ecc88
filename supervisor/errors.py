"""The tree of errors. Edges translate into it what their libraries raise, so nothing above them catches anything else.

    VtapdError
    ├── Transient             the same step may succeed later: try again after a delay
    │   └── ContainerGone     the container ended during the step; the next pass sees that it is gone
    └── Permanent             an operator must act; tried again only when something changes
        ├── Rejected          the container's labels or files ask for something that is not possible
        │   └── NoNetwork     it asks for a guest, and has no network of its own
        └── ConfigError       the configuration file is wrong, or the daemon cannot start with it

A bug is none of these and is not caught: the daemon dies, systemd starts it again, the guests live on.
"""

from enum import StrEnum


class Step(StrEnum):
    """What failed. These are label values of the metric `vtapd_attach_failures_total`, so they must not change."""

    ATTACH = "attach"
    CGROUP = "cgroup"
    CONSOLE = "console"
    DETACH = "detach"
    DEVICE_RULE = "device_rule"
    DOCKER = "docker"
    HEALTH = "health"
    KERNEL = "kernel"
    """The files that a guest is booted from."""
    KILL = "kill"
    LABELS = "labels"
    LINK = "link"
    """The private link between a guest and its container."""
    MACVTAP = "macvtap"
    NAME = "name"
    NETNS = "netns"
    NODE = "node"
    OBSERVE = "observe"
    ORDER = "order"
    """An operator's command."""
    PROCESS = "process"
    QEMU = "qemu"
    QMP = "qmp"
    READY = "ready"
    RECORD = "record"
    REFRESH = "refresh"
    ROOTFS = "rootfs"
    SANDBOX = "sandbox"
    SCREEN = "screen"
    SHARE = "share"
    """A folder of the container that the guest shares."""
    SLEEP = "sleep"
    """Putting a guest to sleep, and waking it."""
    SPAWN = "spawn"
    START = "start"
    STOP = "stop"
    SYSTEM = "system"
    """The machine lacks descriptors, memory or disk space."""
    SYSTEMD = "systemd"
    TAKEOVER = "takeover"
    TAP = "tap"
    THREAD = "thread"
    VETH = "veth"
    UNNAMED = ""
    """No part of attaching a container: an error of the configuration or of `vtapd check`."""


class VtapdError(Exception):
    """An error that an operator reads: what was tried and why it failed, and in `remedy` what to do about it."""

    def __init__(self, message: str, *, step: Step = Step.UNNAMED, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.step = step
        self.remedy = remedy
        self.interface: str | None = None
        """The one interface of the container that it concerns, if it is an error of a step that is for several."""
        self.label: str | None = None
        """The label that it refuses. The message then has the label's value."""

    def concern(self, subject: str) -> None:
        """Put the subject, such as "container web", in front of the message, unless it begins with it already.

        A name contains neither a colon nor a space, so a longer name is not taken for it.
        """
        if not self.message.startswith((f"{subject}: ", f"{subject} ")):
            self.message = f"{subject}: {self.message}"

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class Transient(VtapdError):
    """The same step may succeed later."""


class ContainerGone(Transient):
    """The container, its namespaces or its cgroup ended during the step."""


class Permanent(VtapdError):
    """Trying again changes nothing until an operator acts."""


class Rejected(Permanent):
    """The container asks for a guest that is not possible. Nothing of the container is changed."""


class NoNetwork(Rejected):
    """The container asks for a guest, and has no network of its own. It may do well without the guest."""


class ConfigError(Permanent):
    """The daemon cannot start with this configuration."""
