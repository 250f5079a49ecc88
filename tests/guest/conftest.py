"""Builds the guest before its tests."""

import subprocess

import pytest

from .booting import SOURCE


@pytest.fixture(scope="session", autouse=True)
def _kernel() -> None:
    subprocess.run(["make", "-s", "-C", str(SOURCE)], check=True, timeout=60)
