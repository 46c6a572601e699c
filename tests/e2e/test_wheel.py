"""What is published: a wheel and a source distribution that work where no checkout is."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0


def python(*arguments: str | Path, cwd: Path) -> None:
    """Runs this Python; a test that calls it fails with what it said."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def built(kind: str, source: Path, target: Path) -> Path:
    """The distribution of `source`, made by the build backend that pyproject.toml names."""
    python("-m", "hatchling", "build", "-t", kind, "-d", target, cwd=source)
    (made,) = target.iterdir()
    return made


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(source distribution, wheel) of this checkout."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: run `make setup`")
    sdist = built("sdist", ROOT, tmp_path_factory.mktemp("sdist"))
    return sdist, built("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(
    distributions: tuple[Path, Path], bench_of: Any, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """`bench` from the wheel, in an environment that has its dependencies and no checkout."""
    home = tmp_path_factory.mktemp("venv")
    python("-m", "venv", "--without-pip", home, cwd=home)
    executable = home / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    # A path in a .pth file is searched, but the .pth files in it are not read: the packages of
    # this environment are there, and its link to the checkout is not.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = ("--python", executable, "install", "--quiet", "--no-index", "--no-deps")
    python("-m", "pip", *install, "--ignore-installed", distributions[1], cwd=home)
    return bench_of(home / "bin" / "bench", tmp_path_factory.mktemp("empty"))


def test_the_wheel_holds_what_travels_with_it(distributions: tuple[Path, Path]) -> None:
    """Every recipe, profile, template and word file of the checkout is in the wheel."""
    names = set(zipfile.ZipFile(distributions[1]).namelist())
    shipped = [
        path
        for folder in ("workloads", "profiles")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    ]
    assert len(shipped) > 20
    assert {f"bench/_shipped/{path.relative_to(ROOT)}" for path in shipped} <= names
    inside = [path for path in (ROOT / "bench").rglob("*") if path.suffix in (".py", ".yaml")]
    inside += [path for path in (ROOT / "bench" / "report").rglob("*") if path.suffix == ".html"]
    assert {str(path.relative_to(ROOT)) for path in inside} <= names
    assert not [name for name in names if name.startswith(("tests", "reports", "docs"))]


def test_the_source_distribution_builds_the_same_wheel(
    distributions: tuple[Path, Path], tmp_path: Path
) -> None:
    """A wheel made from the source distribution holds the same files as one from the checkout."""
    sdist, wheel = distributions
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    again = built("wheel", source, tmp_path / "wheel")

    def contents(path: Path) -> dict[str, int]:
        return {each.filename: each.CRC for each in zipfile.ZipFile(path).infolist()}

    assert contents(again) == contents(wheel)


def test_the_installed_command_is_the_wheel_s(installed: Any) -> None:
    """What runs is the installed package, not the checkout."""
    done = subprocess.run(
        [installed.executable.with_name("python"), "-c", "import bench; print(bench.__file__)"],
        cwd=installed.folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert Path(done.stdout.strip()).is_relative_to(installed.executable.parents[1])


def test_tables_and_files_are_found_from_anywhere(installed: Any) -> None:
    """Metrics, shipped profiles and the help need no checkout."""
    assert "ttft_s" in installed("metrics").out
    assert "realtime-chat" in installed("profiles", "list").out
    help_text = installed("--help")
    assert (help_text.code, help_text.err) == (0, "")


def test_the_demo_runs_from_the_wheel(installed: Any) -> None:
    """In an empty folder, `bench demo --json` makes a valid run that passes, and its report."""
    done = installed("demo", "--lang", "en", "-o", "runs", "--json")
    assert done.code == 0, done.out + done.err
    answer = done.json()
    assert (answer["valid"], answer["verdict"], answer["exit_code"]) == (True, "pass", 0)
    folder = installed.folder / answer["run"]
    assert folder.parent == installed.folder / "runs"
    assert '<html lang="en' in (folder / "report.html").read_text(encoding="utf-8")
