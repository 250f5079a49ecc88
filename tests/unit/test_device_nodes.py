"""What is said if a device node cannot be made. The real nodes are in the integration tests."""

import os
from pathlib import Path

import pytest

from supervisor.core.container import FileOwner
from supervisor.core.links import DeviceNumber
from supervisor.edges.kernel.device_nodes import make_node
from supervisor.errors import Transient


def test_folder_that_was_just_removed_is_no_lack_of_rights(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    tmp_path.rmdir()
    try:
        with pytest.raises(Transient, match=r"/dev/tap0 in the container: No such file") as raised:
            make_node(folder, 0, DeviceNumber(246, 1), FileOwner(0, 0), lambda _: False)
        assert raised.value.remedy == ""
    finally:
        os.close(folder)
