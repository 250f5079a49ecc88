"""One Chromium for all tests; each test has a tab and a host of its own."""

import shutil
from collections.abc import Iterator

import pytest

from tests.page.chromium import Tab, browsing


@pytest.fixture
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    if shutil.which("chromium") is None:
        pytest.skip("not installed: chromium; `make test-page` installs it")
    with browsing(tmp_path_factory.mktemp("chromium")) as tab:
        yield tab
        assert tab.problems == [], "the browser complained"
