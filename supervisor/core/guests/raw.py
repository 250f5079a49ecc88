"""Raw: an image of which vtapd knows nothing but that QEMU boots it. It cares for its own network."""

from supervisor.core.guests.kind import Boot, GuestKind, GuestNetwork, Stop
from supervisor.core.guests.multiboot import is_bootable


def _boot(args: str, _network: GuestNetwork | None) -> Boot:
    return Boot(command_line=args)


RAW = GuestKind(
    name="raw",
    recognise=lambda image: is_bootable(image.head),
    boot=_boot,
    stop=Stop.POWERDOWN,
    takes_cards=True,
)
