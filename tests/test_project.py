"""The project's own promises: its surface, its wheel, its version, its locks and its README."""

import importlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.test_imports import on_demand

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_sorted_and_complete(name: str) -> None:
    package = importlib.import_module(name)
    lazy = {name for found in on_demand(ROOT / name / "__init__.py").values() for name in found}
    public = {
        attribute
        for attribute in {*vars(package), *lazy} - {"TYPE_CHECKING"}
        if not attribute.startswith("_") and not isinstance(getattr(package, attribute), ModuleType)
    }
    listed = [attribute for attribute in package.__all__ if not attribute.startswith("_")]
    assert listed == sorted(listed)
    assert set(listed) == public
    assert all(hasattr(package, attribute) for attribute in package.__all__)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_folder_is_a_package(name: str) -> None:
    # import-linter does not look into a folder without `__init__.py`: its contracts would hold idly.
    folders = {path.parent for path in (ROOT / name).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_wheel_holds_what_git_holds(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    # New files that git does not ignore count too, so that the test says the same before a commit.
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *PACKAGES]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    in_git = {path for path in listed.split("\0") if path and (ROOT / path).exists()}

    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {path for path in archive.namelist() if ".dist-info/" not in path}
    assert in_wheel == in_git
    assert {f"{package}/py.typed" for package in PACKAGES} <= in_wheel


def test_version_is_written_once() -> None:
    version = PROJECT["project"]["version"]
    assert importlib.metadata.version(PROJECT["project"]["name"]) == version
    copies = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if f'"{version}"' in path.read_text()
    ]
    assert copies == []
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def locked(name: str) -> dict[str, str]:
    """Read `name -> version` from a lock file; of several for one name, the first."""
    pins: dict[str, str] = {}
    for line in (ROOT / "locks" / name).read_text().splitlines():
        if pin := re.match(r"([a-z0-9.-]+)==([^\s;]+)", line):
            pins.setdefault(pin[1], pin[2])
    return pins


def direct_dependencies() -> list[str]:
    groups = [PROJECT["project"]["dependencies"]]
    groups += PROJECT["project"]["optional-dependencies"].values()
    return [line for group in groups for line in group if "[" not in line]


def test_locks_follow_pyproject() -> None:
    newest, older = locked("dev.txt"), locked("duckdb15.txt")
    # Ray, which is not in the extra `all`, is in a lock of its own.
    newest["ray"] = older["ray"] = locked("ray.txt")["ray"]
    for requirement in direct_dependencies():
        name, bound = requirement.partition(",")[0].split(">=")
        if name == "ray":
            assert locked("ray.txt")[name].startswith(bound)
        elif name == "duckdb":
            assert older[name] == bound
        else:
            assert older[name] == newest[name], "run `make lock`"
            assert f"{newest[name]}.".startswith(f"{bound}.") or newest[name] > bound


def test_locks_name_no_index() -> None:
    for path in (ROOT / "locks").glob("*.txt"):
        text = path.read_text()
        assert "://" not in text, path.name
        assert "index-url" not in text, path.name
        assert " @ " not in text, path.name
    for path in (ROOT / "locks").glob("*/package-lock.json"):
        packages = json.loads(path.read_text())["packages"]
        assert not [name for name, package in packages.items() if "resolved" in package]
        assert not [
            name for name, package in packages.items() if name and "integrity" not in package
        ]


def test_the_example_in_the_readme_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
