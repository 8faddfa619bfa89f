"""Find the programs of the servers: in this environment, on PATH, or where `make servers` put them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from catalog.errors import NotFoundError

VERSIONS = {
    "azurite": "3.35.0",
    "minio": "v0.0.0-20260212201848-7aac2a2c5b7c",
    "s3rver": "3.7.1",
}
# The last image of the community edition.
MINIO_IMAGE = "minio/minio:RELEASE.2025-09-07T16-13-09Z"
_LOCAL = {"azurite": "node_modules/.bin/azurite-blob", "s3rver": "node_modules/.bin/s3rver"}


class NotInstalledError(NotFoundError):
    """Report a server that is not installed on this machine."""


def cached(name: str) -> Path:
    """Return the folder of one version of a server, whether it is there or not."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "lakehouse-storage" / "servers" / f"{name}-{VERSIONS[name]}"


def find(name: str, program: str) -> str | None:
    """Return the path of a server's program; None where there is none."""
    beside = Path(sys.executable).parent / program
    if beside.is_file():
        return str(beside)
    if name in VERSIONS:
        ours = cached(name) / _LOCAL.get(name, program)
        return str(ours) if ours.is_file() else shutil.which(program)
    return shutil.which(program)


def needed(name: str, program: str) -> str:
    """Return the path of a server's program. Raises NotInstalledError."""
    found = find(name, program)
    if found is None:
        raise not_installed(name)
    return found


def not_installed(name: str) -> NotInstalledError:
    """Say that a server is not installed, and what would."""
    return NotInstalledError(
        f"{name} is not installed", next_step="Run `make servers`, which says what it lacks"
    )


def docker_runs() -> bool:
    """Tell whether there is a Docker that can start a container."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    asked = subprocess.run(
        [docker, "info"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    return asked.returncode == 0
