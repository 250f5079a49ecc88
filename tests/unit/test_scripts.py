"""The git hooks and the release script, in a repository of their own."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CI = Path(__file__).parents[2] / ".ci"
MAKEFILE = """
lint test-unit:
	@echo $@ >>made
wheel:
	@mkdir -p dist && echo wheel >dist/vtapd-0.2.0-py3-none-any.whl
deb:
	@echo deb >dist/vtapd_0.2.0_amd64.deb
"""
IDENTITY = {
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@localhost", "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@localhost", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
}  # fmt: skip


def run(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a command, outside of any repository that git itself may have named to this process."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "MAKE", "MFLAGS"))}
    return subprocess.run(argv, cwd=folder, env=env | IDENTITY, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository that is ready for release 0.2.0."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(CI / "release", tmp_path / ".ci")
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / ".gitignore").write_text("/dist/\n/made\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "0.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 0.2.0 (2026-12-01)\n")
    assert run(tmp_path, "git", "init", "-q").returncode == 0
    commit(tmp_path)
    return tmp_path


def commit(repository: Path) -> None:
    assert run(repository, "git", "add", "-A").returncode == 0
    assert run(repository, "git", "commit", "-q", "--allow-empty", "-m", "Change").returncode == 0


def test_release_checks_and_builds(repository: Path) -> None:
    (repository / "dist").mkdir()
    (repository / "dist/vtapd_0.1.0_amd64.deb").write_text("old")
    done = run(repository, ".ci/release")
    assert (done.returncode, done.stderr) == (0, "")
    assert (repository / "made").read_text() == "lint\ntest-unit\n"
    files = ["SHA256SUMS", "vtapd-0.2.0-py3-none-any.whl", "vtapd_0.2.0_amd64.deb"]
    assert sorted(path.name for path in (repository / "dist").iterdir()) == files
    assert all(name in done.stdout for name in files)
    assert run(repository / "dist", "sha256sum", "--check", "--strict", "SHA256SUMS").returncode == 0


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("pyproject.toml", '[project]\nversion = "0.3.0.dev0"\n', "0.3.0.dev0 is a development version"),
        ("pyproject.toml", '[project]\nversion = "0.3.0"\n', "CHANGELOG.md has no heading for 0.3.0"),
        ("CHANGELOG.md", "## 0.2.0 (unreleased)\n", "put the date there"),
    ],
)
def test_release_refuses_an_unfinished_version(repository: Path, file: str, content: str, words: str) -> None:
    (repository / file).write_text(content)
    commit(repository)
    done = run(repository, ".ci/release")
    assert (done.returncode, words in done.stderr) == (1, True)
    assert not (repository / "dist").exists()


def test_release_refuses_a_dirty_tree(repository: Path) -> None:
    (repository / "new").write_text("")
    done = run(repository, ".ci/release")
    assert (done.returncode, "the working tree is not clean" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Add a command\n", ""),
        ("Add a command\n\nBecause it is needed.\n# a comment of git's\n", ""),
        (f"{'ä' * 72}\n", ""),
        ("Merge branch 'of a name that is so long that the subject has far more than 72 characters'\n", ""),
        ("# nothing but a comment\n", "the subject is empty"),
        (f"{'a' * 73}\n", "the subject has 73 characters, more than 72"),
        ("Add a command.\n", "the subject ends with a full stop"),
        ("Add a command\nat once\n", "the line after the subject is not empty"),
    ],
)
def test_hook_checks_the_commit_message(tmp_path: Path, message: str, said: str) -> None:
    file = tmp_path / "COMMIT_EDITMSG"
    file.write_text(message)
    done = run(tmp_path, str(CI / "hooks/commit-msg"), str(file))
    assert (done.returncode, said in done.stderr) == (1 if said else 0, True)


def test_hook_lints_before_a_commit(repository: Path) -> None:
    assert run(repository, "git", "config", "core.hooksPath", str(CI / "hooks")).returncode == 0
    (repository / "Makefile").write_text("lint:\n\t@echo a line is too long; exit 1\n")
    assert run(repository, "git", "add", "-A").returncode == 0
    done = run(repository, "git", "commit", "-m", "Change")
    assert (done.returncode, "a line is too long" in done.stderr) == (1, True)
    (repository / "Makefile").write_text("lint:\n")
    assert run(repository, "git", "add", "-A").returncode == 0
    assert run(repository, "git", "commit", "-m", "Change").returncode == 0
