"""`make install` with DESTDIR: exactly these files, also when repeated, and none after `make uninstall`."""

import re
from pathlib import Path

from .building import REPOSITORY, VERSION, files, installed_tree, make, manual_pages, outside, run

HOME = "/usr/local/lib/vtapd"
CONFIG = "etc/vtapd/vtapd.toml"
PINNED = set(re.findall(r"^(\S+)==(\S+)", (REPOSITORY / "systemd/constraints.txt").read_text(), re.MULTILINE))
FILE, PROGRAM, LINK, FOLDER = "-rw-r--r--", "-rwxr-xr-x", "lrwxrwxrwx", "drwxr-xr-x"


def test_install_and_uninstall_leave_nothing(installed: Path) -> None:
    _assert_installed(installed, files(installed))
    folder = installed_tree()
    holding = [path for path in folder.rglob("*") if path.is_file() and bytes(folder) in path.read_bytes()]
    assert holding == [], "a file contains the path of the build folder"
    for _ in range(2):
        make("uninstall", DESTDIR=str(installed))
        assert files(installed) == {}


def _assert_installed(tree: Path, found: dict[str, str]) -> None:
    docs = {f"/usr/local/share/doc/vtapd/{name}": FILE for name in ("README.md", "CHANGELOG.md", "LICENSE")}
    shared = {
        f"/usr/local/share/vtapd/{path.relative_to(REPOSITORY / 'config')}": FILE
        for path in (REPOSITORY / "config").glob("*/**/*")
        if path.is_file()
    }
    printed = {
        f"/usr/local/share/{path}": FILE
        for path in (
            "bash-completion/completions/vtapd",
            "zsh/site-functions/_vtapd",
            "fish/vendor_completions.d/vtapd.fish",
            *(f"man/{path}" for path in manual_pages()),
        )
    }
    wanted = {
        "/etc/systemd/system/vtapd.service": FILE,
        "/etc/sysusers.d/vtapd.conf": FILE,
        "/etc/tmpfiles.d/vtapd.conf": FILE,
        f"/{CONFIG}": FILE,
        "/usr/local/bin/vtapd": LINK,
    }
    outer = {path: mode for path, mode in outside(found, HOME).items() if not mode.startswith("d")}
    assert outer == wanted | docs | shared | printed
    assert {mode for path, mode in found.items() if path.startswith(HOME)} <= {FILE, PROGRAM, LINK, FOLDER}
    assert "ExecStart=/usr/local/bin/vtapd " in (tree / "etc/systemd/system/vtapd.service").read_text()
    (package,) = (tree / HOME[1:]).glob("lib/python*/site-packages/supervisor")
    assert (package / "py.typed").is_file(), "type checkers of other programs use the types (PEP 561)"
    assert _libraries(package.parent) == PINNED | {("vtapd", VERSION)}
    assert found[f"{HOME}/vtapd-init"] == PROGRAM
    assert {path.name for path in (tree / HOME[1:] / "bin").iterdir() if not path.is_symlink()} == {"vtapd"}
    assert run(str(tree / HOME[1:] / "bin/python"), str(tree / HOME[1:] / "bin/vtapd"), "--version").split() == [
        "vtapd",
        VERSION,
    ]


def test_package_readme_has_no_link_into_the_repository(installed: Path) -> None:
    (metadata,) = (installed / HOME[1:]).glob("lib/python*/site-packages/vtapd-*.dist-info/METADATA")
    readme = metadata.read_text()
    assert "## Quick start" in readme
    assert re.findall(r"\]\((?!https?:|#)[^)]*\)", readme) == []


def test_edited_configuration_is_kept(installed: Path) -> None:
    first, mine = files(installed), (installed / CONFIG).read_text() + "# mine\n"
    (installed / CONFIG).write_text(mine)
    assert "kept" in make("install", DESTDIR=str(installed))
    assert files(installed) == first
    assert "kept" in make("uninstall", DESTDIR=str(installed))
    left = {path: mode for path, mode in files(installed).items() if not mode.startswith("d")}
    assert left == {f"/{CONFIG}": FILE}
    assert (installed / CONFIG).read_text() == mine


def _libraries(site: Path) -> set[tuple[str, str]]:
    """Return name and version of each installed library; names as constraints.txt writes them (PEP 503)."""
    named = (path.name.removesuffix(".dist-info").rpartition("-") for path in site.glob("*.dist-info"))
    return {(re.sub(r"[-_.]+", "-", name).lower(), version) for name, _, version in named}
