"""Make the readme of the Python package from README.md: without links into the repository, which lead nowhere there.

Hatchling loads this (pyproject.toml, tool.hatch.metadata.hooks.custom).
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_PICTURE = re.compile(r"!\[[^]]*\]\((?!https?:)[^)]*\)\n*")
_LINK = re.compile(r"\[([^]]*)\]\((?!https?:|#)[^)]*\)")


class PackageReadme(MetadataHookInterface):
    def update(self, metadata: dict[str, Any]) -> None:
        """Set the readme. A picture is left out, and of a link its text stays."""
        text = (Path(self.root) / "README.md").read_text()
        text = _LINK.sub(r"\1", _PICTURE.sub("", text))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
