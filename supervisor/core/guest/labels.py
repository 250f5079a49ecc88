"""Turn a container's labels into a GuestSpec, into None if they ask for no guest, or into a Rejected that says why.

`label_table` has the labels, `label_parsers` reads their values, `label_checks` compares them with the policy.
"""

from dataclasses import replace
from typing import TypeVar

from supervisor.core.attach.selection import PREFIX, are_ours_among
from supervisor.core.container import Container
from supervisor.core.guest import label_checks as checks
from supervisor.core.guest import label_table as table
from supervisor.core.guest.label_table import Label
from supervisor.core.guest.spec import DISK, SHARE, Disk, GuestPolicy, GuestSpec, Share
from supervisor.errors import Rejected, Step

T = TypeVar("T")


def parse_labels(container: Container, policy: GuestPolicy) -> GuestSpec | None:
    """Return the guest that the labels ask for, or None if they ask for none.

    Raises Rejected, whose message names the container, the label, its value and what is allowed.
    """
    if not are_ours_among(container.labels):
        return None
    read = _Reader(container, policy.image_labels)
    kernel = read(table.KERNEL)
    memory_bytes = read(table.MEMORY)
    stop_timeout_s = read(table.STOP_TIMEOUT)
    snapshot, standby = read(table.SNAPSHOT)
    spec = GuestSpec(
        kernel=kernel or "",
        memory_mib=policy.memory_mib,
        kind=read(table.GUEST),
        initrd=read(table.INITRD),
        disks=read.disks(),
        shares=read.shares(),
        args=read(table.ARGS),
        kernel_args=read(table.KERNEL_ARGS),
        screen=read(table.SCREEN),
        cpus=read(table.CPUS),
        address=read(table.ADDRESS),
        restart=read(table.RESTART),
        on_exit=read(table.ON_EXIT),
        stop_timeout_s=policy.stop_timeout_s if stop_timeout_s is None else stop_timeout_s,
        accel=checks.accelerator(container, policy, read(table.ACCEL)),
        machine=read(table.MACHINE),
        ready=read(table.READY),
        alive=read(table.ALIVE),
        snapshot=snapshot,
        standby=standby,
        idle=read(table.IDLE),
        env=checks.environment(container, read(table.ENV)),
    )
    read(table.ENABLE)
    _refuse_unknown(container)
    if not kernel:
        return None
    checks.check_cpus(container, policy, spec.cpus)
    checks.check_disks(container, policy, spec.disks)
    checks.check_shares(container, policy, spec.shares)
    checks.check_screen(container, spec)
    checks.check_questions(container, spec)
    checks.check_snapshot(container, spec)
    checks.check_idle(container, spec)
    return replace(spec, memory_mib=checks.memory_mib(container, policy, memory_bytes, spec))


class _Reader:
    """Reads labels of one container, and refuses those that its image may not set."""

    def __init__(self, container: Container, of_images: tuple[str, ...] | None) -> None:
        self._container = container
        self._of_images = of_images

    def __call__(self, label: Label[T]) -> T:
        return self._value(label, label.key)

    def disks(self) -> tuple[Disk, ...]:
        found = ((number, self._value(table.DISKS, f"{DISK}{number}")) for number in self._numbers(DISK))
        return tuple(Disk(number, *file) for number, file in found if file is not None)

    def shares(self) -> tuple[Share, ...]:
        found = ((number, self._value(table.SHARES, f"{SHARE}{number}")) for number in self._numbers(SHARE))
        return tuple(
            Share(number, path, read_only, tag or f"share{number}", mount, by)
            for number, (path, read_only, tag, mount, by) in ((number, each) for number, each in found if each)
        )

    def _numbers(self, family: str) -> list[int]:
        labels = self._container.labels
        return sorted(number for label in labels if (number := table.number_of(label, family)) is not None)

    def _value(self, label: Label[T], key: str) -> T:
        if key not in self._container.labels:
            return label.default
        text = self._container.labels[key]
        if key in self._container.image_labels and not self._is_for_images(label.name):
            raise Rejected(
                f"container {self._container.name}: the image may not set label {key}",
                step=Step.LABELS,
                remedy=f"give another value by docker run --label, or add {label.name!a} to [limits] image_labels",
            )
        try:
            return label.parse(text)
        except ValueError as error:
            raise checks.refuse(self._container, key, text, str(error)) from None

    def _is_for_images(self, name: str) -> bool:
        return self._of_images is None or name in self._of_images


def _refuse_unknown(container: Container) -> None:
    for label in sorted(container.labels):
        if label.startswith(PREFIX) and not table.is_known(label):
            known = ", ".join(sorted(each.key for each in table.LABELS))
            raise Rejected(
                f"container {container.name}: unknown label {ascii(label)[1:-1][:100]}",
                step=Step.LABELS,
                remedy=f"known labels are {known}; see vtapd-labels(7)",
            )
