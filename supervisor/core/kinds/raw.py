"""Raw: an image of which vtapd knows only that QEMU boots it. It configures its network itself.

Boot loaders and iPXE print through the firmware, which writes to the screen. If QEMU reports that the machine has no
graphics, SeaBIOS also writes to the serial port (SeaBIOS, src/sercon.c), so the text is in the container's log.
"""

from dataclasses import replace

from supervisor.core.kinds import quoting
from supervisor.core.kinds.checks import refuse_kernel_args, refuse_mounts, room_left
from supervisor.core.kinds.entry import Entry
from supervisor.core.kinds.environment import refuse_environment
from supervisor.core.kinds.kind import MANY_CARDS, Boot, BootRequest, GuestKind, KindDoc, Machine, Stop
from supervisor.core.kinds.network import names_left_out
from supervisor.core.kinds.refusal import refused

_OWN_NETWORK = "Nothing of its network is passed to the guest: it configures its addresses itself."


def _boot(request: BootRequest) -> Boot:
    refuse_environment(request.env, "raw")
    refuse_kernel_args(request, "raw")
    refuse_mounts(request, "vtapd does not know how a raw guest mounts one")
    room_left(request, request.args)
    return Boot(request.args, notes=(_OWN_NETWORK, *names_left_out(request.network)) if request.network else ())


def _boot_disk(request: BootRequest) -> Boot:
    if request.args:
        allowed = "nothing: the image is a disk, which is booted without a command line"
        raise refused("vtapd.args", request.args, allowed)
    return _boot(request)


RAW = GuestKind(
    name="raw",
    recognise=lambda image: "an image that QEMU boots" if image.entry is not Entry.DISK else None,
    boot=_boot,
    stop=Stop.POWERDOWN,
    machine=Machine(firmware_on_serial=True),
    most_cards=MANY_CARDS,
    ip_versions=(),
    takes_cards=True,
    doc=KindDoc(
        recognised="none of the signs above; any kernel or disk that QEMU boots can be `raw`",
        network="its own means, such as DHCP, which its container answers, or IPv6 autoconfiguration",
        ends="QMP and QEMU's exit status",
    ),
)
RAW_DISK = replace(
    RAW,
    recognise=lambda image: "a disk with a boot sector" if image.entry is Entry.DISK else None,
    boot=_boot_disk,
    format_words=quoting.none,
    machine=replace(RAW.machine, boots_disk=True),
)
