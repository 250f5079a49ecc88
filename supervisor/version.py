"""The version of this program."""

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """Return the installed distribution's version, or "unknown" when it is run without being installed."""
    try:
        return version("vtapd")
    except PackageNotFoundError:
        return "unknown"
