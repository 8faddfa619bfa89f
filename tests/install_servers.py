"""Install the object stores that are not Python packages: MinIO by Go, Azurite and s3rver by npm.

``python -m tests.install_servers`` puts them into the user's cache, once for all checkouts. What
cannot be had is named, and its tests are skipped; in CI that is an error.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lakehouse.testing.servers.programs import VERSIONS, cached, docker_runs, find

LOCKS = Path(__file__).parents[1] / "locks"


class CannotInstallError(Exception):
    """Say why a server cannot be installed, and what to do."""


def main() -> int:
    return max(
        install("minio", "minio"), install("azurite", "azurite-blob"), install("s3rver", "s3rver")
    )


def install(name: str, program: str) -> int:
    """Install a server unless it is there; return 1 where that failed and CI needs it."""
    folder = cached(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Two checkouts may be set up at once.
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_there(name, program, folder):
            return 0
        with tempfile.TemporaryDirectory(prefix=f"{folder.name}.", dir=folder.parent) as fresh:
            try:
                build_minio(Path(fresh)) if name == "minio" else install_node(name, Path(fresh))
            except CannotInstallError as error:
                print(f"{name} is not installed: {error}. Its tests are skipped.", file=sys.stderr)
                return int("CI" in os.environ)
            shutil.rmtree(folder, ignore_errors=True)
            Path(fresh).rename(folder)
            Path(fresh).mkdir()  # for its context manager to remove
    return 0


def is_there(name: str, program: str, folder: Path) -> bool:
    if name == "minio" and ("LAKEHOUSE_TEST_MINIO" in os.environ or docker_runs()):
        return True
    if name != "minio" and folder.exists() and not same_lock(name, folder):
        return False
    return find(name, program) is not None


def same_lock(name: str, folder: Path) -> bool:
    lock = "package-lock.json"
    return (folder / lock).read_bytes() == (LOCKS / name / lock).read_bytes()


def build_minio(folder: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise CannotInstallError("it needs Go, or a `minio` on PATH, or Docker")
    print("Building MinIO, once: this takes some minutes ...", flush=True)
    package = f"github.com/minio/minio@{VERSIONS['minio']}"
    run([go, "install", "-trimpath", package], folder, {"GOBIN": str(folder)})


def install_node(name: str, folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise CannotInstallError("it needs Node.js with npm")
    print(f"Installing {name}, once ...", flush=True)
    for file in (LOCKS / name).iterdir():
        shutil.copy(file, folder)
    run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder, {})


def run(command: list[str], folder: Path, settings: dict[str, str]) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise CannotInstallError(f"`{' '.join(command)}` failed: {done.stderr[-2000:].strip()}")


if __name__ == "__main__":
    sys.exit(main())
