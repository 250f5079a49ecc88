"""`python -m tests.systemd COMMAND…`: run a command in the root of the release that RELEASE names."""

import sys

from .root import main

sys.exit(main())
