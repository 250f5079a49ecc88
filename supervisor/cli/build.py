"""`vtapd build`: the command's options. What it does is in `image_build`, which is slow to import."""

import click

from supervisor.cli.options import config_option, json_option

_SHORT = {"memory": "memory", "kind": "guest", "ready": "ready"}
"""Options that set a label."""


@click.command()
@click.argument("kernel", type=click.Path(), required=False)
@click.option("-t", "--tag", required=True, help="Name of the image, as for docker build.")
@click.option("--initrd", type=click.Path(), metavar="FILE", help="Initial RAM disk.")
@click.option("--rootfs", metavar="IMAGE", help="Container image that a Linux guest has as its root disk, disk 0.")
@click.option(
    "--size", metavar="SIZE", help="Size of the root disk, such as 1G.  [default: its files and a fifth more]"
)
@click.option("--read-only", is_flag=True, help="Keep what the guest writes to its root disk in its memory.")
@click.option("--disk", "disks", multiple=True, metavar="FILE[:ro][,mount=/WHERE]", help="Disk; the first is disk 0.")
@click.option("--file", "files", multiple=True, metavar="HOST:IMAGE", help="File or folder to put into the image.")
@click.option("--memory", metavar="SIZE", help="The guest's memory, such as 64M.")
@click.option("--kind", metavar="KIND", help="The guest's kind, if it cannot be seen from the kernel.")
@click.option("--ready", metavar="tcp:PORT", help="When the guest is ready; also its health check.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Any other label.")
@click.option("--expose", "ports", multiple=True, type=click.IntRange(1, 65535), help="TCP port of the guest.")
@click.option("--from", "base", default="scratch", metavar="IMAGE", help="Image to start from.  [default: scratch]")
@click.option("--init", type=click.Path(), metavar="FILE", help="Another vtapd-init, as for another processor.")
@config_option
@json_option
def build(
    kernel: str | None,
    tag: str,
    initrd: str | None,
    rootfs: str | None,
    size: str | None,
    read_only: bool,
    disks: tuple[str, ...],
    files: tuple[str, ...],
    labels: tuple[str, ...],
    ports: tuple[int, ...],
    base: str,
    init: str | None,
    config: str | None,
    as_json: bool,
    **short: str | None,
) -> None:
    """Build an image that boots a kernel.

    With --rootfs, the guest is Linux, and runs the command of a container image on a disk with its files. Without
    KERNEL it boots the newest kernel in the image's /boot, or else the one that this machine runs. --initrd is for an
    image that is a whole system: the initial RAM disk of a distribution mounts the disk and starts its /sbin/init. See
    vtapd-guests(7), LINUX FROM A CONTAINER IMAGE.

    The image has the kernel, the files that it is given, the labels that ask for the guest, and vtapd-init as its first
    process. What the daemon would refuse is refused before anything is built. No daemon has to run, and root is not
    needed: who may use Docker may build.

    Progress is on standard error. The image's id, and how to run it, are on standard output.

    \b
    Exit codes:
      0  done
      1  refused, or Docker does not answer
      2  misuse

    \b
    Examples:
      $ vtapd build -t web --memory 32M --ready tcp:80 app.bin
      $ vtapd build -t db --disk data.img --label vtapd.args="-d /data" db.bin
      $ docker run --rm -p 8080:80 web --port 80
      $ vtapd build -t vm --rootfs nginx --memory 512M
    """
    if kernel is None and rootfs is None:
        raise click.UsageError("name a kernel, or an image by --rootfs")
    if rootfs is None and (size is not None or read_only):
        raise click.UsageError("--size and --read-only are for a root disk: name an image by --rootfs")
    from supervisor.cli.image_build import build_image
    from supervisor.cli.rootfs_build import RootOptions

    root = RootOptions(rootfs, size, read_only) if rootfs is not None else None
    of_options = (f"vtapd.{_SHORT[name]}={value}" for name, value in short.items() if value is not None)
    given = (*of_options, *labels)
    build_image(config, tag, base, kernel, initrd, disks, files, given, ports, init, root, as_json=as_json)
