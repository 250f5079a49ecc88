"""Start the reaper. The daemon runs this file with a listening socket as descriptor 3, without site packages."""

import os
import sys

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))  # noqa: PTH100, PTH120  # no pathlib here

from supervisor.reaper.server import main

main()
