"""What `vtapd build` does: check what is asked for, write a build context, and let Docker build the image."""

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import anyio
import click

from supervisor.cli.client import fail, first_of
from supervisor.cli.rootfs_build import RootOptions, make_parts
from supervisor.config import Config, load_config
from supervisor.core.guest.image_recipe import INIT, ImageFile, Recipe, recipe_of
from supervisor.core.guest.labels import parse_labels
from supervisor.core.guest.spec import GuestSpec
from supervisor.edges.docker import DEFAULT_HOST
from supervisor.edges.image_builder import build, write_context
from supervisor.errors import ConfigError, VtapdError
from supervisor.guest.guest_plan import examine_files
from supervisor.text import escape_controls

_PLACES = (Path(sys.prefix) / "vtapd-init", Path("/usr/lib/vtapd/vtapd-init"), Path("/usr/local/lib/vtapd/vtapd-init"))
"""Where vtapd-init is installed: next to the libraries that this program runs with, or by a package."""


def build_image(
    config_path: str | None,
    tag: str,
    base: str,
    kernel: str | None,
    initrd: str | None,
    disks: Sequence[str],
    files: Sequence[str],
    labels: Sequence[str],
    ports: Sequence[int],
    init: str | None,
    root: RootOptions | None,
    *,
    as_json: bool,
) -> None:
    """Check what is asked for as the daemon would, build the image, and print its id. Exits with 1 if that fails."""
    kernel = str(Path(kernel).absolute()) if kernel else None
    initrd = str(Path(initrd).absolute()) if initrd else None
    all_disks, all_labels = [_absolute(disk) for disk in disks], _labels(labels)
    try:
        with ExitStack() as owned:
            config = load_config(Path(config_path) if config_path is not None else None)
            program = _find_init(init)
            if root is not None:
                folder = Path(owned.enter_context(tempfile.TemporaryDirectory(prefix="vtapd-build-")))
                parts = make_parts(_docker_of(config), root, kernel, initrd, all_labels, program, folder)
                kernel, initrd, all_labels = parts.kernel, parts.initrd, dict(parts.labels)
                all_disks, ports = [parts.disk, *all_disks], [*parts.ports, *ports]
            assert kernel is not None, "only a root disk comes without a kernel"
            recipe = recipe_of(tag, base, kernel, initrd, all_disks, map(_file, files), all_labels, ports)
            spec = anyio.run(_check, recipe, config)
            image = _build(recipe, spec, program, config)
    except* VtapdError as group:
        fail(str(first_of(group)))
    run = f"docker run -d {' '.join(f'-p {8000 + port % 1000}:{port}' for port in recipe.exposed(spec))} {tag}"
    answer = {"id": image, "tag": tag, "labels": dict(recipe.labels), "run": " ".join(run.split())}
    click.echo(json.dumps(answer, indent=2) if as_json else f"{image}\n{answer['run']}")


async def _check(recipe: Recipe, config: Config) -> GuestSpec:
    """Raise Rejected for what the daemon would refuse, with its words."""
    container = recipe.as_container()
    spec = parse_labels(container, config.policy)
    assert spec is not None, "the recipe has a kernel"
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        plan, disks = await examine_files(root, recipe.on_host(spec), config.limits.kernel)
        plan.kind.boot(plan.boot_request(None, disks))
    except VtapdError as error:
        error.concern(f"container {container.name}")
        raise
    finally:
        os.close(root)
    return spec


def _build(recipe: Recipe, spec: GuestSpec, init: Path, config: Config) -> str:
    files: Iterable[ImageFile] = (*recipe.files, ImageFile(str(init), INIT))
    with closing(write_context(recipe.dockerfile(spec), files)) as context:
        return anyio.run(build, _docker_of(config), context, recipe.tag, _show)


def _docker_of(config: Config) -> str:
    return config.docker.host or os.environ.get("DOCKER_HOST") or DEFAULT_HOST


def _show(progress: str) -> None:
    for line in progress.splitlines():
        if line.strip():
            click.echo(escape_controls(line.rstrip()), err=True)


def _find_init(asked: str | None) -> Path:
    for place in (Path(asked),) if asked else _PLACES:
        if place.is_file():
            return place
    raise ConfigError(
        f"there is no {asked or _PLACES[-1]}",
        remedy="install vtapd by its package or `make install`, or name the program by --init",
    )


def _absolute(disk: str) -> str:
    """Make the path in the value of --disk absolute."""
    path, comma, options = disk.partition(",")
    bare = path.removesuffix(":ro")
    return str(Path(bare).absolute()) + path.removeprefix(bare) + comma + options


def _file(text: str) -> ImageFile:
    source, separator, target = text.rpartition(":")
    if not separator or not target.startswith("/") or target == "/":
        raise click.BadParameter("write it as HOST:IMAGE, with an absolute path in the image", param_hint="--file")
    return ImageFile(str(Path(source).absolute()), os.path.normpath(target))


def _labels(texts: Iterable[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not key or not separator:
            raise click.BadParameter("write it as KEY=VALUE", param_hint="--label")
        if key in labels:
            raise click.BadParameter(f"{key} is given twice", param_hint="--label")
        labels[key] = value
    return labels
