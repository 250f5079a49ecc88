"""Remove what outlives every run of a container: its symlink, the files of its guest, and its record."""

from dataclasses import replace
from pathlib import Path

from supervisor.container.context import Context
from supervisor.container.record import ContainerRecord
from supervisor.core.attach.actions import DeleteRecord, UnlinkNetns
from supervisor.core.attach.state import Seen
from supervisor.edges.kernel import netns_symlinks
from supervisor.edges.qemu.boot_folder import BootFolder
from supervisor.guest.qemu_process import SocketPaths


def forget(action: DeleteRecord | UnlinkNetns, seen: Seen, record: ContainerRecord, context: Context) -> Seen:
    """Carry out one of the last actions of every undo, and return what is there then. They need no container."""
    paths = SocketPaths(context.config.run_dir, record.id)
    if isinstance(action, UnlinkNetns):
        netns_symlinks.remove_symlink(paths.name)
        return replace(seen, netns_link=None)
    paths.remove()
    context.state_files.remove(record.id)
    for path in record.data.guest.folders if record.data else ():
        BootFolder.remove(Path(path))
    record.delete()  # after that: what a killed daemon left is found by the record
    paths.remove_report()  # the reaper keeps no report without a record, and may have saved one before it was deleted
    return seen
