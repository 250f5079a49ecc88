"""Which devices a container may open: the rules of its cgroup, v1 or v2, and those that Docker made."""

from collections.abc import Callable
from typing import Protocol

from supervisor.core.container import Container
from supervisor.core.devices.bpf_rules import Rule
from supervisor.core.devices.v1_rules import granted_devices
from supervisor.core.formats.proc_cgroup import Cgroup
from supervisor.core.links import DeviceNumber
from supervisor.edges.kernel import device_nodes
from supervisor.edges.kernel.device_rules_v1 import CgroupV1Rules
from supervisor.edges.kernel.device_rules_v2 import CgroupV2Rules
from supervisor.errors import Permanent, Step


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


def rules_of_docker(container: Container) -> frozenset[DeviceNumber]:
    """Return the devices that Docker was asked to allow this container one by one. Such rules look like vtapd's."""
    return granted_devices([*container.device_rules, *device_nodes.rules_of_devices(container.devices)])
