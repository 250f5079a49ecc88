"""A file in memory that QEMU writes to, since it can open no file itself."""

import os

from supervisor.errors import Step, Transient

MOST_BYTES = 1 << 26


class MemoryFile:
    """One file without a name. The owner closes it. Its memory is charged to the writer's cgroup."""

    def __init__(self) -> None:
        try:
            self._file = os.memfd_create("screen", os.MFD_CLOEXEC)
        except OSError as error:
            raise _no_memory(error) from error
        try:
            # QEMU wants a descriptor of the very mode that it opens (util/osdep.c, monitor_fdset_dup_fd_add).
            self.writer = os.open(f"/proc/self/fd/{self._file}", os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            os.close(self._file)
            raise _no_memory(error) from error

    def read(self) -> bytes:
        """Return the whole content. Raises Transient if it is larger than MOST_BYTES."""
        size = os.fstat(self._file).st_size
        if size > MOST_BYTES:
            raise Transient(f"QEMU wrote {size} bytes, more than {MOST_BYTES}", step=Step.SCREEN)
        return os.pread(self._file, size, 0)

    def close(self) -> None:
        os.close(self.writer)
        os.close(self._file)


def _no_memory(error: OSError) -> Transient:
    return Transient(f"no file in memory: {error.strerror}", step=Step.SCREEN)
