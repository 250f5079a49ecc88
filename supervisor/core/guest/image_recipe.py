"""What `vtapd build` makes: the labels of an image, the files in it, and the Dockerfile."""

import json
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from supervisor.core.container import Container, ContainerId, Pid
from supervisor.core.guest import label_table as table
from supervisor.core.guest.spec import DISK, GuestSpec
from supervisor.errors import Rejected, Step

INIT = "/vtapd-init"
"""Where an image has its init."""
FILES = "files"
"""The folder of the build context that has the image's files."""
SCRATCH = "scratch"
_HEALTH = "--interval=5s --timeout=5s --retries=3 --start-period=60s"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file or folder that goes into the image."""

    source: str
    """Its path on the host, absolute."""
    target: str
    """Its path in the image, absolute."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """An image that boots a guest."""

    tag: str
    base: str
    files: tuple[ImageFile, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    ports: tuple[int, ...] = ()
    """TCP ports for EXPOSE, in addition to those that the guest is asked on."""

    def as_container(self) -> Container:
        """Return a container of this image, for the checks that the daemon makes."""
        return Container(
            id=ContainerId("0" * 64),
            name=self.tag,
            pid=Pid(0),
            started_ns=0,
            running=False,
            paused=False,
            network_mode="default",
            labels=dict(self.labels),
            image_labels=frozenset(self.labels),
        )

    def on_host(self, spec: GuestSpec) -> GuestSpec:
        """Return the spec with the host's paths in place of the image's. A disk that the base image has is left out.

        Raises Rejected if a label names a file that the image does not have.
        """
        sources = {each.target: each.source for each in self.files}
        disks = []
        for disk in spec.disks:
            if disk.path in sources:
                disks.append(replace(disk, path=sources[disk.path], read_only=True))
            elif self.base == SCRATCH:
                raise _missing(f"{DISK}{disk.number}", disk.path)
        initrd = sources.get(spec.initrd) if spec.initrd else None
        if spec.initrd and initrd is None and self.base == SCRATCH:
            raise _missing(table.INITRD.key, spec.initrd)
        return replace(spec, kernel=sources[spec.kernel], initrd=initrd, disks=tuple(disks))

    def dockerfile(self, spec: GuestSpec) -> str:
        """Return its Dockerfile. The build context has the files in the folder FILES."""
        lines = [f"FROM {self.base}", f"COPY {FILES}/ /"]
        lines += [f"LABEL {_quoted(key)}={_quoted(value)}" for key, value in sorted(self.labels.items())]
        lines += [f"EXPOSE {port}/tcp" for port in self.exposed(spec)]
        if spec.ready is not None:
            lines.append(f"HEALTHCHECK {_HEALTH} CMD {json.dumps([INIT, 'ready'])}")
        lines += ["STOPSIGNAL SIGTERM", f"ENTRYPOINT {json.dumps([INIT])}"]
        return "".join(f"{line}\n" for line in lines)

    def exposed(self, spec: GuestSpec) -> list[int]:
        """Return the ports that were asked for, and those that `vtapd.ready` and `vtapd.alive` ask."""
        probes = (spec.ready.probe if spec.ready else None, spec.alive.probe if spec.alive else None)
        return sorted({*self.ports, *(probe.port for probe in probes if probe is not None and probe.port is not None)})


def recipe_of(
    tag: str,
    base: str,
    kernel: str,
    initrd: str | None,
    disks: Sequence[str],
    files: Iterable[ImageFile],
    labels: Mapping[str, str],
    ports: Iterable[int],
) -> Recipe:
    """Put together an image. Kernel, initial RAM disk and disks are in its root folder under their own names.

    `disks` are values as those of `vtapd.disk.N`, with paths of the host. Raises Rejected if two files have one name,
    or if a label is given twice.
    """
    parts = {table.KERNEL.key: kernel, table.INITRD.key: initrd}
    parts |= {f"{DISK}{number}": value for number, value in enumerate(disks)}
    all_files = [*files]
    all_labels = dict(labels)
    for label, value in parts.items():
        if value is None:
            continue
        if label in all_labels:
            raise Rejected(f"label {label} is given twice", step=Step.LABELS, remedy=f"leave out --label {label}=…")
        source, options = _split(value) if label.startswith(DISK) else (value, "")
        target = f"/{posixpath.basename(source)}"
        all_labels[label] = target + options
        all_files.append(ImageFile(source, target))
    _refuse_same_names(all_files)
    return Recipe(tag, base, tuple(all_files), all_labels, tuple(ports))


def _split(disk: str) -> tuple[str, str]:
    """Return the path of a disk, and its options with what separates them from it."""
    path, comma, options = disk.partition(",")
    bare = path.removesuffix(":ro")
    return bare, path.removeprefix(bare) + comma + options


def _refuse_same_names(files: Iterable[ImageFile]) -> None:
    seen = {INIT: "vtapd's init"}
    for file in files:
        if file.target in seen:
            raise Rejected(
                f"{file.source!a} and {seen[file.target]} would both be {file.target!a} in the image",
                step=Step.LABELS,
                remedy="rename one of them",
            )
        seen[file.target] = repr(file.source)


def _missing(label: str, path: str) -> Rejected:
    return Rejected(
        f"label {label}: cannot use {path!a} of the container: the image does not have it",
        step=Step.LABELS,
        remedy=f"add it by --file PATH:{path}",
    )


def _quoted(text: str) -> str:
    """Quote a word of a Dockerfile. Raises Rejected for what it cannot carry: an instruction is one line."""
    if not text.isprintable():
        raise Rejected(f"label text {text!a} has control characters", step=Step.LABELS, remedy="leave them out")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
