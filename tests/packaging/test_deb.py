"""The Debian package's files, and its dependencies."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .building import DEB_VERSION, REPOSITORY, build_deb, files, make, manual_pages, outside, run

HOME = "/usr/lib/vtapd"
FILE, PROGRAM, LINK, FOLDER = "-rw-r--r--", "-rwxr-xr-x", "lrwxrwxrwx", "drwxr-xr-x"


def _field(deb: Path, name: str) -> str:
    return run("dpkg-deb", "--field", str(deb), name).strip()


def test_package_has_exactly_its_files(unpacked: Path) -> None:
    found = files(unpacked)
    outer = outside(found, HOME)
    for path, mode in {
        "/usr/bin/vtapd": LINK,
        "/usr/lib/systemd/system/vtapd.service": FILE,
        "/usr/lib/sysusers.d/vtapd.conf": FILE,
        "/usr/lib/tmpfiles.d/vtapd.conf": FILE,
        "/etc/vtapd/vtapd.toml": FILE,
        "/usr/share/doc/vtapd/README.md": FILE,
        "/usr/share/doc/vtapd/CHANGELOG.md.gz": FILE,
        "/usr/share/doc/vtapd/changelog.gz": FILE,
        "/usr/share/doc/vtapd/copyright": FILE,
        **{f"/usr/share/man/{page}.gz": FILE for page in manual_pages()},
    }.items():
        assert outer.get(path) == mode, path
    assert [path for path in outer if path.startswith(("/usr/local", "/var", "/run", "/opt"))] == []
    scripts = {f"/DEBIAN/{name}" for name in ("preinst", "postinst", "prerm", "postrm")}
    assert {path for path, mode in outer.items() if mode == PROGRAM} == scripts
    assert set(found.values()) <= {FILE, PROGRAM, LINK, FOLDER}
    assert found[f"{HOME}/vtapd-init"] == PROGRAM
    own = {path.removeprefix(f"{HOME}/").split("/")[0] for path in found if path.startswith(f"{HOME}/")}
    assert own <= {"bin", "include", "lib", "lib64", "pyvenv.cfg", "vtapd-init"}
    for source in (REPOSITORY / "config").glob("*/**/*"):
        if source.is_file():
            assert outer.get(f"/usr/share/vtapd/{source.relative_to(REPOSITORY / 'config')}") == FILE


def test_configuration_is_a_conffile(unpacked: Path) -> None:
    assert (unpacked / "DEBIAN/conffiles").read_text() == "/etc/vtapd/vtapd.toml\n"
    assert (unpacked / "etc/vtapd/vtapd.toml").read_text() == (REPOSITORY / "config/vtapd.toml").read_text()


def test_checksums_match_all_files(unpacked: Path) -> None:
    run("sh", "-euc", 'cd "$1" && exec md5sum --quiet -c DEBIAN/md5sums', "sh", str(unpacked))
    summed = (unpacked / "DEBIAN/md5sums").read_text().splitlines()
    plain = [path for path, mode in files(unpacked).items() if mode[0] == "-" and not path.startswith("/DEBIAN")]
    assert sorted(f"/{line[34:]}" for line in summed) == sorted(plain)


def test_package_needs_the_python_that_it_was_built_with(deb: Path, unpacked: Path) -> None:
    depends = _field(deb, "Depends").split(", ")
    python = next(word for word in depends if word.startswith("python3."))
    assert (unpacked / HOME[1:] / f"bin/{python}").readlink() == Path("/usr/bin") / python
    assert (unpacked / HOME[1:] / f"lib/{python}/site-packages/supervisor").is_dir()
    assert "qemu-system-x86" in depends
    assert any(word.startswith("docker.io | ") for word in depends)


def test_shared_libraries_are_in_the_dependencies(deb: Path, unpacked: Path) -> None:
    """Each shared library that a module needs is in one of the packages in Depends."""
    depends = _field(deb, "Depends")
    asked: set[str] = set()
    for module in unpacked.rglob("*.so"):
        asked |= set(re.findall(r"Shared library: \[(.*)\]", run("readelf", "--dynamic", str(module))))
    known = {
        "libstdc++6": {"libstdc++.so.6"},
        "libgcc-s1": {"libgcc_s.so.1"},
        "libc6": {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "ld-linux-x86-64.so.2"},
    }
    brought = {library for package, libraries in known.items() if package in depends for library in libraries}
    assert asked
    assert asked <= brought


def test_program_runs_from_any_folder(unpacked: Path) -> None:
    """This shows that no path of the build machine is left. It runs as another user, without a home folder."""
    program = unpacked / HOME[1:] / "bin"
    printed = run(str(program / "python3"), "-I", "-c", "import supervisor.daemon as it; print(it.__file__)", HOME="/")
    assert printed.startswith(str(unpacked))
    shebang = (program / "vtapd").read_text().splitlines()[0]
    assert re.fullmatch(rf"#!{HOME}/bin/python3(\.\d+)?", shebang)
    assert "ExecStart=/usr/bin/vtapd " in (unpacked / "usr/lib/systemd/system/vtapd.service").read_text()


def test_package_name_and_version(deb: Path) -> None:
    assert deb.name == f"vtapd_{DEB_VERSION}_{_field(deb, 'Architecture')}.deb"
    assert (_field(deb, "Package"), _field(deb, "Version")) == ("vtapd", DEB_VERSION)


def test_pre_release_sorts_before_its_release(deb: Path) -> None:
    version = _field(deb, "Version")
    release = version.partition("~")[0]
    run("dpkg", "--compare-versions", version, "lt" if version != release else "eq", release)


def test_build_is_reproducible(tmp_path: Path) -> None:
    first = shutil.copy(build_deb(), tmp_path / "first.deb")
    again = REPOSITORY / make("deb").splitlines()[-1]
    assert subprocess.run(["cmp", first, str(again)], check=False).returncode == 0


def test_lintian_finds_no_error(deb: Path) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("lintian is not installed: apt-get install lintian")
    run("lintian", "--allow-root", "--fail-on", "error", str(deb), timeout_s=120)
