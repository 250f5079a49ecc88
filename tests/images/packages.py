"""Debian and Ubuntu packages as a source of files: fetched and unpacked under build/, never installed."""

import re
import shutil
import subprocess
from pathlib import Path

from .cache import BUILD, ImageError

FETCH_TIMEOUT_S = 300


def _apt(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(args, cwd=cwd, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False)


def depends(package: str, pattern: str) -> list[str]:
    """Return the direct dependencies whose names match; none if the package is unknown here."""
    shown = _apt("apt-cache", "depends", package).stdout
    return [name for name in re.findall(r"Depends: (\S+)", shown) if re.fullmatch(pattern, name)]


def refresh_lists() -> None:
    """Run apt-get update: a fresh machine has no package lists."""
    _apt("apt-get", "update")


def unpacked(package: str) -> Path:
    """Return the folder with the package's files; fetch it once."""
    home = BUILD / "packages"
    files = home / package
    if files.exists():
        return files
    home.mkdir(parents=True, exist_ok=True)
    fetched = _apt("apt-get", "download", package, cwd=home)
    if fetched.returncode:
        refresh_lists()
        fetched = _apt("apt-get", "download", package, cwd=home)
    archives = sorted(home.glob(f"{package}_*.deb"))
    if fetched.returncode or not archives:
        raise ImageError(f"apt-get download {package} failed: {fetched.stderr.strip()}")
    partial = home / f"{package}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    subprocess.run(["dpkg", "-x", archives[-1], partial], timeout=FETCH_TIMEOUT_S, check=True)
    partial.rename(files)
    for archive in archives:
        archive.unlink()
    return files


def codename() -> str:
    """Return the name of this machine's release, such as bookworm."""
    release = Path("/etc/os-release").read_text().splitlines()
    return next(line.partition("=")[2].strip('"') for line in release if line.startswith("VERSION_CODENAME="))


def static_busybox() -> Path:
    """Return the installed busybox if it needs no dynamic loader, else the one of busybox-static."""
    for installed in (Path("/bin/busybox"), Path("/usr/bin/busybox")):
        # The first page of a dynamically linked program contains the loader's path (PT_INTERP).
        if installed.is_file() and b"/ld-" not in installed.read_bytes()[:4096]:
            return installed
    files = unpacked("busybox-static")
    found = next((path for path in (files / "bin/busybox", files / "usr/bin/busybox") if path.is_file()), None)
    if found is None:
        raise ImageError(f"package busybox-static holds no busybox: {files}")
    return found


def applets(busybox: Path) -> list[str]:
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, timeout=10, check=True)
    return [name for name in listed.stdout.split() if name != "busybox"]
