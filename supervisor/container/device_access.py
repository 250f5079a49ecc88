"""Which devices a container may open: the rules of its cgroup, v1 or v2, and systemd's copy of them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import structlog

from supervisor.core.devices.bpf_rules import Rule
from supervisor.core.formats.proc_cgroup import Cgroup
from supervisor.core.model import DeviceNumber
from supervisor.edges.kernel.device_rules_v1 import CgroupV1Rules
from supervisor.edges.kernel.device_rules_v2 import CgroupV2Rules
from supervisor.errors import Permanent, Step, Transient

if TYPE_CHECKING:
    from supervisor.edges.systemd.dbus import Systemd  # loaded only under systemd

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class DeviceRules(Protocol):
    """The same shape for both versions of cgroups."""

    note: str | None

    def close(self) -> None: ...
    def deny_all(self) -> None: ...
    def observe(self, devices: frozenset[DeviceNumber]) -> frozenset[DeviceNumber]: ...
    def observe_own(self) -> frozenset[DeviceNumber]: ...
    def allow(self, device: DeviceNumber) -> None: ...
    def deny(self, device: DeviceNumber) -> None: ...


def no_rules() -> tuple[Rule, ...]:
    """Stand in for `own_rules` if no device will be allowed: it is called only for that."""
    return ()


def open_rules(cgroup: Cgroup, own_rules: Callable[[], tuple[Rule, ...]] = no_rules) -> DeviceRules:
    """Open the rules of the version whose cgroup decides over devices; a hybrid machine has both versions mounted.

    The caller closes them.
    """
    if "devices" in cgroup.v1:
        return CgroupV1Rules(cgroup.v1["devices"])
    if cgroup.v2:
        return CgroupV2Rules(cgroup.v2, own_rules)
    raise Permanent(
        "it has no cgroup that vtapd can see",
        step=Step.DEVICE_RULE,
        remedy="vtapd must see the cgroup file system that Docker uses: run it on the host itself",
    )


async def tell_systemd(systemd: "Systemd | None", cgroup: Cgroup, device: DeviceNumber, *, allowed: bool) -> None:
    """Change systemd's copy of the rule, if Docker uses its systemd driver: systemd makes device programs by itself.

    Call it before the rule is changed: systemd never removes a program of its own that was replaced without it.
    """
    if systemd is None or cgroup.scope is None:
        return
    try:
        tell = systemd.allow_device if allowed else systemd.deny_device
        await tell(cgroup.scope, device)
    except Transient as error:
        # The rule holds without it. It is lost for a moment at systemd's next reload.
        log.warning("systemd_not_told", scope=cgroup.scope, error=str(error))
