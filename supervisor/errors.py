"""The one tree of errors. Edges translate into it at their border, so that nothing else need be caught above them.

    VtapdError
    ├── Transient             the same step may succeed later: try again, with delay
    │   └── ContainerGone     the container ended between two looks; the next look sees it gone
    └── Permanent             an operator must act; tried again only when something changes
        ├── Rejected          the container's labels or files ask for what cannot be
        └── ConfigError       the configuration file is wrong, or the daemon cannot start with it

A bug is none of these and is not caught: the daemon dies, systemd starts it again, the guests live on.
"""


class VtapdError(Exception):
    """What was tried and why it failed, for an operator's eyes.

    `step` is a short stable name (a label value of `vtapd_attach_failures_total`); `remedy` says what to do about it.
    """

    def __init__(self, message: str, *, step: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.step = step
        self.remedy = remedy

    def concern(self, whom: str) -> None:
        """Put in front whom it is about, where the message does not say it yet."""
        if whom not in self.message:
            self.message = f"{whom}: {self.message}"

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class Transient(VtapdError):
    """The same step may succeed later."""


class ContainerGone(Transient):
    """The container, its namespaces or its cgroup ended while the step was under way."""


class Permanent(VtapdError):
    """Trying again changes nothing until an operator does."""


class Rejected(Permanent):
    """The container asks for a guest that cannot be: nothing of it is touched."""


class ConfigError(Permanent):
    """The daemon cannot start with this configuration."""
