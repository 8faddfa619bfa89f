"""Start a server, for one user or for all that share a folder, and end it after the last of them."""

import contextlib
import dataclasses
import fcntl
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit

from catalog.errors import InputError, StorageError
from lakehouse.testing.servers.kinds import HOST, NAMES, PLANS, Plan
from lakehouse.testing.servers.server import Server

_KEEPER = Path(__file__).with_name("keeper.py")
_PATIENCE = 90.0
_PAUSE = 0.05
_TRIES = 3
_TAIL = 4_000
# Below what systems give to outgoing connections, which could take a port before the server does.
_PORTS = range(15_000, 32_000)
# Settings of servers that somebody else runs, or of the user.
_FOREIGN = ("AWS_", "AZURE_", "AZURITE_", "MINIO_", "RCLONE_", "WEED_")


@contextlib.contextmanager
def start(name: str, *, shared: Path | None = None) -> Iterator[Server]:
    """Start one of the servers in `NAMES`, and end it after the block, or with this process.

    Processes that give the same folder as ``shared`` use one server; the last of them ends it.
    ``LAKEHOUSE_TEST_MINIO=http://...`` stands for a MinIO that runs already; its keys are
    ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``.
    Raises NotInstalledError, and StorageError with what the server said if it does not come up.
    """
    if name not in NAMES:
        raise InputError(f"There is no server {name!r}", next_step=f"Take one of {NAMES}")
    running = _running_minio() if name == "minio" else None
    if running is not None:
        yield running
    elif shared is not None:
        with _used(name, shared / name, alone=False) as server:
            yield server
    else:
        with tempfile.TemporaryDirectory(prefix=f"lakehouse-{name}-") as folder:
            with _used(name, Path(folder), alone=True) as server:
                yield server


def minio() -> AbstractContextManager[Server]:
    """Start MinIO: what most people run, and the reference for S3 here."""
    return start("minio")


def seaweedfs() -> AbstractContextManager[Server]:
    """Start SeaweedFS, the maintained alternative to MinIO."""
    return start("seaweedfs")


def moto() -> AbstractContextManager[Server]:
    """Start moto, which imitates AWS in memory. It checks no keys."""
    return start("moto")


def azurite() -> AbstractContextManager[Server]:
    """Start Azurite, which imitates Azure's blob storage in memory."""
    return start("azurite")


def s3rver() -> AbstractContextManager[Server]:
    """Start s3rver, which takes no notice of `If-None-Match`."""
    return start("s3rver")


def rclone() -> AbstractContextManager[Server]:
    """Start `rclone serve s3` on a folder, which takes no notice of `If-None-Match`."""
    return start("rclone")


def _running_minio() -> Server | None:
    endpoint = os.environ.get("LAKEHOUSE_TEST_MINIO")
    if not endpoint:
        return None
    return Server(
        name="minio",
        kind="s3",
        endpoint=endpoint.rstrip("/"),
        account=os.environ.get("AWS_ACCESS_KEY_ID", ""),
        secret=os.environ.get("AWS_SECRET_ACCESS_KEY", ""),
        region=os.environ.get("AWS_REGION", "us-east-1"),
    )


@contextlib.contextmanager
def _used(name: str, folder: Path, *, alone: bool) -> Iterator[Server]:
    folder.mkdir(parents=True, exist_ok=True)
    keeper = None
    try:
        with _locked(folder / "users", fcntl.LOCK_SH):
            with _locked(folder / "starting", fcntl.LOCK_EX):
                server = _started(folder)
                if server is None:
                    server, keeper = _launched(name, folder)
            yield server
    finally:
        if keeper is not None:
            _wait(keeper, block=alone)


@contextlib.contextmanager
def _locked(path: Path, mode: int) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, mode)
        yield


def _started(folder: Path) -> Server | None:
    try:
        server = Server(**json.loads((folder / "server.json").read_bytes()))
    except FileNotFoundError:
        return None
    return server if _listens(server) else None


def _launched(name: str, folder: Path) -> tuple[Server, int]:
    deadline = time.monotonic() + _PATIENCE
    # Somebody may take a port between our look and the server's: it ends, and starts on others.
    for _ in range(_TRIES):
        plan = PLANS[name](_free_ports())
        keeper = _spawn(plan, folder)
        if _comes_up(plan.server, keeper, deadline):
            _write_secret(folder / "server.json", json.dumps(dataclasses.asdict(plan.server)))
            return plan.server, keeper
        if time.monotonic() >= deadline:
            break
    said = (folder / "log").read_text(errors="replace")[-_TAIL:].replace(plan.server.secret, "***")
    raise StorageError(
        f"{name} did not come up. It said:\n{said}\n",
        next_step=f"Try it by hand: {' '.join(plan.command)}",
    )


def _write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _spawn(plan: Plan, folder: Path) -> int:
    data = folder / "data"
    data.mkdir(exist_ok=True)
    for name, text in plan.files.items():
        _write_secret(data / name, text)
    own = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    log = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    # Not `subprocess`, which takes a process that outlives its starter for a mistake.
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", str(_KEEPER), str(folder), *plan.command],
        {**own, **plan.environment},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(folder / "log"), log, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )


def _comes_up(server: Server, keeper: int, deadline: float) -> bool:
    while time.monotonic() < deadline:
        if _wait(keeper, block=False):
            return False
        if _listens(server):
            with contextlib.suppress(StorageError):
                server.probe()
                return True
        time.sleep(_PAUSE)
    os.kill(keeper, signal.SIGTERM)
    _wait(keeper, block=True)
    return False


def _wait(keeper: int, *, block: bool) -> bool:
    try:
        return os.waitpid(keeper, 0 if block else os.WNOHANG)[0] == keeper
    except ChildProcessError:
        return True


def _listens(server: Server) -> bool:
    address = urlsplit(server.endpoint)
    try:
        socket.create_connection((address.hostname, address.port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_ports() -> Iterator[int]:
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        yield port
