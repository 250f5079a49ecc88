"""The filter on the tap of a guest that sleeps. `core.devices.wake_program` says what it lets pass."""

import errno
import os

from supervisor.core.attach.actions import RemoveWakeFilter, SetWakeFilter
from supervisor.core.devices.link_program import label_of
from supervisor.core.devices.wake_program import build_wake_program
from supervisor.core.formats import rtnetlink_filters as filters
from supervisor.core.formats.rtnetlink_filters import INGRESS
from supervisor.core.links import IfIndex
from supervisor.edges.kernel.netlink_socket import NetlinkSocket
from supervisor.errors import ContainerGone, Permanent, Step, Transient, VtapdError
from supervisor.linux import bpf_calls

_PROG_TYPE_SCHED_CLS = 3  # linux/bpf.h
_GONE = (errno.ENOENT, errno.EINVAL, errno.ENODEV)
"""What the kernel answers if what is to be removed is not there."""
_LACKING = (errno.EOPNOTSUPP, errno.ENOENT, errno.EPERM, errno.EACCES, errno.ENOSYS)


def observe_wake_filter(netlink: NetlinkSocket, tap: IfIndex) -> str:
    """Return the name of vtapd's filter on the tap's ingress hook; empty without one."""
    (found,) = netlink.ask(filters.show_filter(tap, INGRESS))
    return "" if found is None else filters.parse_filter_name(found)


def set_wake_filter(netlink: NetlinkSocket, step: SetWakeFilter) -> str:
    """Put the filter on the tap, in place of one that lets others pass. Return its name."""
    tap, program = step.tap.index, build_wake_program(step.wakers)
    name = label_of(program)
    try:
        descriptor = bpf_calls.load_bpf(_PROG_TYPE_SCHED_CLS, program)
        try:
            requests = filters.add_clsact(tap), filters.set_filter(tap, INGRESS, descriptor, name)
            netlink.request(*requests, forgiven=(errno.EEXIST,))
        finally:
            os.close(descriptor)
    except OSError as error:
        _remove(netlink, tap, keeps_hooks=bool(_filters(netlink, tap)))
        raise _translate(error, f"cannot filter what reaches {step.tap.name}: {error.strerror or error}") from error
    return name


def remove_wake_filter(netlink: NetlinkSocket, step: RemoveWakeFilter) -> None:
    """Remove the filter, and the tap's hooks with it if nothing else uses them."""
    tap = step.tap.index
    try:
        keeps_hooks = step.linked or not all(map(filters.is_own, _filters(netlink, tap)))
        _remove(netlink, tap, keeps_hooks=keeps_hooks)
    except OSError as error:
        raise _translate(error, f"cannot remove the filter of {step.tap.name}: {error.strerror or error}") from error


def _filters(netlink: NetlinkSocket, tap: IfIndex) -> list[bytes]:
    return [each for hook in filters.show_filters(tap) for each in netlink.dump_by(hook, "filters")]


def _remove(netlink: NetlinkSocket, tap: IfIndex, *, keeps_hooks: bool) -> None:
    request = filters.remove_filter(tap, INGRESS) if keeps_hooks else filters.remove_clsact(tap)
    netlink.request(request, forgiven=_GONE)


def _translate(error: OSError, said: str) -> VtapdError:
    if error.errno == errno.ENODEV:
        return ContainerGone(said, step=Step.SLEEP)
    if error.errno in _LACKING:
        remedy = "the kernel needs BPF, NET_CLS_BPF and NET_SCH_INGRESS: modprobe cls_bpf sch_ingress; see vtapd check"
        return Permanent(said, step=Step.SLEEP, remedy=remedy)
    return Transient(said, step=Step.SLEEP)
