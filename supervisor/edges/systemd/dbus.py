"""systemd on D-Bus: report reloads, change which devices a container's scope may open, and make a scope.

Only this module uses dbus-fast.

On a reload, systemd attaches its own device programs to every unit again, in addition to vtapd's, and they refuse the
device. The signal `Reloading` comes when it is done. The devices of a scope's DeviceAllow are allowed by its programs.
(man 5 org.freedesktop.systemd1, man 5 systemd.resource-control)
"""

from collections.abc import Callable

import anyio
from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusError

from supervisor.core.container import Pid
from supervisor.core.links import DeviceNumber
from supervisor.errors import Step, Transient

_NAME, _PATH = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
_MANAGER = "org.freedesktop.systemd1.Manager"
_DBUS = "org.freedesktop.DBus"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_ANSWER_S = 5.0
_QEMU_DEVICES = ("10:232", "10:238")  # linux/miscdevice.h: /dev/kvm, /dev/vhost-net
_SCOPE_STOPS_US = 2_000_000
_UNLIMITED = (1 << 64) - 1


class Systemd:
    """One connection to the system bus, for as long as the daemon runs."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus

    @classmethod
    async def connect(cls) -> "Systemd":
        """Connect to the system bus. Raises Transient if it does not answer."""
        try:
            with anyio.fail_after(_ANSWER_S):
                return cls(await MessageBus(bus_type=BusType.SYSTEM).connect())
        except (OSError, DBusError, TimeoutError, EOFError) as error:
            raise Transient(f"no answer on the system bus: {error}", step=Step.SYSTEMD) from error

    def close(self) -> None:
        self._bus.disconnect()

    async def follow_reloads(self, on_reloaded: Callable[[], None]) -> None:
        """Call `on_reloaded` after each daemon-reload. Returns, or raises Transient, when the bus is lost."""

        def look(message: Message) -> None:
            if message.message_type is MessageType.SIGNAL and message.member == "Reloading" and message.body == [False]:
                on_reloaded()

        self._bus.add_message_handler(look)
        try:
            await self._call(_NAME, _PATH, _MANAGER, "Subscribe")
            rule = f"type='signal',sender='{_NAME}',interface='{_MANAGER}',member='Reloading'"
            await self._call(_DBUS, "/org/freedesktop/DBus", _DBUS, "AddMatch", "s", [rule])
            await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # dbus-fast does not annotate it
        finally:
            self._bus.remove_message_handler(look)

    async def is_shutting_down(self) -> bool:
        """Return whether the machine is shutting down or rebooting. Raises Transient."""
        wanted: list[object] = [_MANAGER, "SystemState"]
        (found,) = await self._call(_NAME, _PATH, _PROPERTIES, "Get", "ss", wanted)
        return isinstance(found, Variant) and found.value == "stopping"

    async def allow_device(self, unit: str, device: DeviceNumber) -> None:
        """Add the device to the unit's DeviceAllow, until the unit or the machine ends."""
        entry = [[f"/dev/char/{device}", "rwm"]]
        await self._set(unit, [["DeviceAllow", Variant("a(ss)", entry)]])

    async def deny_device(self, unit: str, device: DeviceNumber) -> None:
        """Remove the device from the unit's DeviceAllow; its other devices stay."""
        (path,) = await self._call(_NAME, _PATH, _MANAGER, "GetUnit", "s", [unit])
        wanted: list[object] = [f"{_NAME}.Scope", "DeviceAllow"]
        (found,) = await self._call(_NAME, str(path), _PROPERTIES, "Get", "ss", wanted)
        entries = found.value if isinstance(found, Variant) else []
        rest = [entry for entry in entries if entry[0] != f"/dev/char/{device}"]
        # An empty list first, since systemd adds to the list that it has.
        emptied = ["DeviceAllow", Variant("a(ss)", [])]
        await self._set(unit, [emptied, ["DeviceAllow", Variant("a(ss)", rest)]] if rest else [emptied])

    async def start_scope(self, unit: str, description: str, pid: Pid, before: tuple[str, ...]) -> None:
        """Move a process into a unit of its own, which ends with it. It may open no other devices than QEMU needs.

        On a shutdown, systemd stops it only after the units named in `before`.
        """
        devices = [["char-macvtap", "rwm"], *([f"/dev/char/{number}", "rw"] for number in _QEMU_DEVICES)]
        properties = [
            ["Description", Variant("s", description)],
            ["PIDs", Variant("au", [pid])],
            ["Before", Variant("as", list(before))],
            ["CollectMode", Variant("s", "inactive-or-failed")],
            ["TimeoutStopUSec", Variant("t", _SCOPE_STOPS_US)],
            ["TasksMax", Variant("t", _UNLIMITED)],
            ["DevicePolicy", Variant("s", "closed")],
            ["DeviceAllow", Variant("a(ss)", devices)],
        ]
        body: list[object] = [unit, "fail", properties, []]
        await self._call(_NAME, _PATH, _MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", body)

    async def _set(self, unit: str, properties: list[list[object]]) -> None:
        """Set the properties until the next boot, as `systemctl set-property --runtime` does."""
        await self._call(_NAME, _PATH, _MANAGER, "SetUnitProperties", "sba(sv)", [unit, True, properties])

    async def _call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: list[object] | None = None,
    ) -> list[object]:
        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=body or [],
        )
        try:
            with anyio.fail_after(_ANSWER_S):
                answer = await self._bus.call(message)
        except (OSError, DBusError, TimeoutError, EOFError) as error:
            raise Transient(f"systemd: {member}: {error or 'no answer'}", step=Step.SYSTEMD) from error
        if answer is None or answer.message_type is MessageType.ERROR:
            said = answer.body[0] if answer is not None and answer.body else "refused"
            raise Transient(f"systemd: {member}: {said}", step=Step.SYSTEMD)
        return list(answer.body)
