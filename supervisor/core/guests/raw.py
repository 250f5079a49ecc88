"""Raw: an image of which vtapd knows nothing but that QEMU boots it. It cares for its own network.

Boot loaders and iPXE print by means of the firmware, which writes to the screen. When QEMU reports that the machine has
no graphics, SeaBIOS writes the same to the serial port too (SeaBIOS, src/sercon.c), so it is in the container's log.
"""

from dataclasses import replace

from supervisor.core.guests.kind import MANY_CARDS, Boot, GuestKind, Machine, Stop
from supervisor.core.guests.multiboot import is_bootable, is_disk
from supervisor.core.guests.network import GuestNetwork
from supervisor.core.guests.refusal import Env, refuse_env, refused

_OWN_NETWORK = "The guest is told nothing of its network: it cares for its addresses itself."


def _boot(args: str, network: GuestNetwork | None, env: Env) -> Boot:
    refuse_env(env, "raw")
    return Boot(args, notes=(_OWN_NETWORK,) if network else ())


def _boot_disk(args: str, network: GuestNetwork | None, env: Env) -> Boot:
    if args:
        raise refused("vtapd.args", args, "nothing: the image is a disk, which is booted without a command line")
    return _boot(args, network, env)


RAW = GuestKind(
    name="raw",
    recognise=lambda image: "an image that QEMU boots" if is_bootable(image.head) else None,
    boot=_boot,
    stop=Stop.POWERDOWN,
    machine=Machine(firmware_on_serial=True),
    most_cards=MANY_CARDS,
    takes_cards=True,
)
RAW_DISK = replace(
    RAW,
    recognise=lambda image: "a disk with a boot sector" if is_disk(image.head) else None,
    boot=_boot_disk,
    machine=replace(RAW.machine, boots_disk=True),
)
