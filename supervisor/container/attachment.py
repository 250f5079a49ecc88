"""Hold what leads into one run of a container: descriptors of its namespaces and folders, its cgroup, its rules.

`kernel_state` observes through them, `kernel_steps` changes things through them.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack

from supervisor.container.container_nodes import ContainerNodes
from supervisor.container.device_access import DeviceRules, open_rules
from supervisor.container.network_view import NetworkView
from supervisor.core.attach.ownership import own_mac
from supervisor.core.container import ContainerHandles, Incarnation
from supervisor.core.devices.bpf_rules import Rule
from supervisor.core.formats.proc_cgroup import Cgroup
from supervisor.edges.kernel import cgroups, netns, rootfs
from supervisor.edges.kernel.links import SIBLING, Links


class Attachment:
    """Descriptors into one incarnation's namespaces; `close` closes them all."""

    def __init__(
        self,
        incarnation: Incarnation,
        link_name: str,
        handles: netns.NetnsHandles,
        root: int,
        dev: int,
        nodes: ContainerNodes,
        cgroup: Cgroup,
        rules: DeviceRules,
        owner: str,
    ) -> None:
        self.incarnation = incarnation
        self.link_name = link_name
        """The name of the symlink to its network namespace."""
        self.cgroup = cgroup
        self.rules = rules
        self.root = root
        self.dev = dev
        self.nodes = nodes
        self.sysfs = handles.sysfs
        self.links = Links(handles.netlink)
        self.view = NetworkView(incarnation, self.links, handles.sysfs)
        self.owner = owner
        """The daemon's run-time folder."""

    @classmethod
    def open(
        cls, incarnation: Incarnation, link_name: str, own_rules: Callable[[], tuple[Rule, ...]], owner: str
    ) -> "Attachment":
        """Open everything. Raises ContainerGone if the container has ended.

        `own_rules` returns the container's own device rules. It is called if its program cannot be read. `owner` is
        the daemon's run-time folder.
        """
        cgroup = cgroups.observe_cgroup(incarnation.pid)
        with ExitStack() as owned:
            root = rootfs.open_root(incarnation.pid)
            owned.callback(os.close, root)
            dev = rootfs.open_dev(root)
            owned.callback(os.close, dev)
            nodes = ContainerNodes(incarnation.pid, dev, own_rules)
            owned.callback(nodes.close)
            rules = open_rules(cgroup, own_rules)
            owned.callback(rules.close)
            handles = netns.open_netns(incarnation.pid)
            owned.pop_all()
        return cls(incarnation, link_name, handles, root, dev, nodes, cgroup, rules, owner)

    @property
    def handles(self) -> ContainerHandles:
        """What a guest needs of it. They are valid while this is open."""
        return ContainerHandles(self.incarnation.pid, self.root, self.nodes.folder, self.cgroup)

    def close(self) -> None:
        self.view.close()
        self.links.close()
        self.rules.close()
        self.nodes.close()
        for descriptor in (self.sysfs, self.dev, self.root):
            os.close(descriptor)

    def sweep(self) -> None:
        """Delete what a daemon that was killed may have left without a record."""
        self.links.delete_sibling(own_mac(str(self.incarnation.pid), SIBLING))
