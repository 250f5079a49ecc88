"""`vtapd build --rootfs`: make a root disk of a container image, and an initial RAM disk to boot it with."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio

from supervisor.core.formats.docker_image import ImageProgram
from supervisor.core.guest import label_table as table
from supervisor.core.guest import microvm
from supervisor.core.guest.kernel_modules import module_name, modules_in_order, parse_builtin
from supervisor.core.guest.root_disk import Entry, commands_for, size_of
from supervisor.core.kinds.bzimage import kernel_version
from supervisor.core.units import parse_size
from supervisor.edges import ext4_disk, image_export, image_files, kernel_files
from supervisor.errors import Rejected, Step

_DISK, _INITRD = "root.img", "initrd.img"
_MACHINES_KERNEL = ("/boot/vmlinuz-{}", "/lib/modules/{}/vmlinuz")


@dataclass(frozen=True, slots=True)
class RootOptions:
    """What root disk `vtapd build` is asked for."""

    image: str
    """Whose files are on it."""
    size: str | None
    """None: what the files need, and some room."""
    read_only: bool


@dataclass(frozen=True, slots=True)
class Parts:
    """What a guest is booted from. The files are in the folder that was given, or where they were before."""

    kernel: str
    initrd: str
    disk: str
    """As the value of vtapd.disk.0."""
    labels: Mapping[str, str]
    ports: tuple[int, ...]


def make_parts(
    host: str,
    root: RootOptions,
    kernel_path: str | None,
    initrd: str | None,
    labels: Mapping[str, str],
    init: Path,
    folder: Path,
) -> Parts:
    """Make the root disk and what else is needed in `folder`. Raises VtapdError if that is not possible.

    Without a kernel's path, the guest gets the newest one of the image, or else the one that this machine runs. Without
    an initial RAM disk it gets one in which vtapd-init is the first process.
    """
    size = _size(root.size)
    content = folder / "files"
    content.mkdir()
    with ExitStack() as owned:
        archive = owned.enter_context((folder / "archive").open("xb+"))
        program = anyio.run(image_export.export_image, host, root.image, archive)
        archive.seek(0)
        entries = image_files.unpack(archive, content)
    (folder / "archive").unlink()
    disk_size = size_of(entries, size)
    files = {entry.path: entry for entry in entries}
    kernel = Path(kernel_path) if kernel_path else _find_kernel(files, folder)
    own_initrd = initrd is None
    initrd = initrd or str(_make_initrd(kernel, program, files, init, folder / _INITRD))
    disk = folder / _DISK
    ext4_disk.make_disk(disk, disk_size, commands_for(entries))
    args = microvm.kernel_args(labels.get(table.KERNEL_ARGS.key), own_initrd=own_initrd)
    defaults = {table.MEMORY.key: microvm.MEMORY, **({table.RESTART.key: microvm.RESTART} if own_initrd else {})}
    return Parts(
        kernel=str(kernel),
        initrd=initrd,
        disk=f"{disk}:ro" if root.read_only else str(disk),
        labels={**defaults, **labels, table.KERNEL_ARGS.key: args},
        ports=program.ports,
    )


def _size(text: str | None) -> int | None:
    try:
        return parse_size(text) if text is not None else None
    except ValueError as error:
        raise Rejected(f"--size {text!a}: allowed is {error}", step=Step.ROOTFS) from None


def _find_kernel(files: Mapping[str, Entry], folder: Path) -> Path:
    """Return a kernel of the image, put into `folder` under its own name, or the one that this machine runs."""
    newest = microvm.newest_kernel(path for path, entry in files.items() if entry.source)
    if newest is not None:
        kernel = folder / Path(newest).name
        kernel.hardlink_to(files[newest].source)
        return kernel
    machines = [Path(path.format(os.uname().release)) for path in _MACHINES_KERNEL]
    for machines_kernel in machines:
        if machines_kernel.is_file():
            return machines_kernel
    raise Rejected(
        "there is no kernel: the image has no /boot/vmlinuz-* and no /lib/modules/*/vmlinuz, and this machine has no "
        + " and no ".join(map(str, machines)),
        step=Step.KERNEL,
        remedy="name one",
    )


def _make_initrd(kernel: Path, program: ImageProgram, files: Mapping[str, Entry], init: Path, target: Path) -> Path:
    version = kernel_version(kernel_files.read_head(kernel)).split(b" ")[0].decode("ascii", "replace")
    if not version:
        raise Rejected(
            f"{kernel} is no Linux kernel with a version in its header",
            step=Step.KERNEL,
            remedy="name a bzImage, as distributions have in /boot",
        )
    of_kernel = _modules_of(kernel, version, files)
    paths = {name: path for path in of_kernel if (name := module_name(path))}
    builtin = of_kernel.get("modules.builtin")
    modules = modules_in_order(
        version,
        paths,
        parse_builtin(builtin.read_text(errors="replace") if builtin else ""),
        lambda name: kernel_files.read_module(paths[name], of_kernel[paths[name]]),
    )
    passwd, group = (_text(files.get(path)) for path in ("/etc/passwd", "/etc/group"))
    config = microvm.init_config(program, passwd, group, modules)
    target.write_bytes(microvm.initrd(init.read_bytes(), modules, config))
    return target


def _modules_of(kernel: Path, version: str, files: Mapping[str, Entry]) -> Mapping[str, Path]:
    """Return the files below the kernel's lib/modules/VERSION, of the image or of the host."""
    for root in (f"/lib/modules/{version}/", f"/usr/lib/modules/{version}/"):
        found = {path[len(root) :]: Path(each.source) for path, each in files.items() if path.startswith(root)}
        if found:
            return {path: source for path, source in found.items() if source != Path()}
    of_host = kernel_files.find_modules(kernel, version)
    if of_host is None:
        raise Rejected(
            f"the modules of kernel {version} are not found, neither next to it nor in the image",
            step=Step.KERNEL,
            remedy=f"install its package, put them into the image as /lib/modules/{version}, or give its own --initrd",
        )
    return of_host


def _text(entry: Entry | None) -> str:
    return Path(entry.source).read_text(errors="replace") if entry and entry.source else ""
