"""What cannot be installed is named: its tests are skipped, but CI does not go on without."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("in_ci", [True, False])
def test_a_machine_without_go_and_npm(tmp_path, in_ci) -> None:
    lacking = {name: value for name, value in os.environ.items() if name != "LAKEHOUSE_TEST_MINIO"}
    lacking |= {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    lacking.pop("CI", None)
    finished = subprocess.run(
        [sys.executable, "-m", "tests.install_servers"],
        cwd=ROOT,
        env=lacking | ({"CI": "true"} if in_ci else {}),
        capture_output=True,
        text=True,
    )
    assert finished.returncode == int(in_ci)
    for name, lack in (("minio", "Go"), ("azurite", "npm"), ("s3rver", "npm")):
        assert f"{name} is not installed: it needs " in finished.stderr
        assert lack in finished.stderr
