"""Say how each server is started: its command line, its environment and its keys.

Keys are drawn anew for every start and go by the environment or a file: command lines are public.
"""

import base64
import dataclasses
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping

from lakehouse.testing.servers.programs import (
    MINIO_IMAGE,
    docker_runs,
    find,
    needed,
    not_installed,
)
from lakehouse.testing.servers.server import Server

HOST = "127.0.0.1"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Hold what to run in a folder of its own, with which files, and what will be there then."""

    server: Server
    command: tuple[str, ...]
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    files: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)


def _s3(name: str, port: int) -> Server:
    return Server(
        name=name,
        kind="s3",
        endpoint=f"http://{HOST}:{port}",
        account=f"key{secrets.token_hex(8)}",
        secret=secrets.token_hex(20),
    )


def _minio(ports: Iterator[int]) -> Plan:
    port = next(ports)
    server = _s3("minio", port)
    keys = {"MINIO_ROOT_USER": server.account, "MINIO_ROOT_PASSWORD": server.secret}
    settings = {**keys, "MINIO_UPDATE": "off", "MINIO_BROWSER": "off", "MINIO_CI_CD": "1"}
    program = find("minio", "minio")
    if program is not None:
        command = [program, "server", ".", "--address", f"{HOST}:{port}", "--quiet"]
    elif docker_runs():
        handed = [word for name in settings for word in ("--env", name)]
        publish = ("--publish", f"{HOST}:{port}:9000")
        command = ["docker", "run", "--rm", *publish, *handed, MINIO_IMAGE, "server", "/data"]
    else:
        raise not_installed("minio")
    return Plan(server=server, command=tuple(command), environment=settings)


def _seaweedfs(ports: Iterator[int]) -> Plan:
    port = next(ports)
    server = _s3("seaweedfs", port)
    keys = {"accessKey": server.account, "secretKey": server.secret}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identities = {"identities": [{"name": "test", "credentials": [keys], "actions": actions}]}
    command = [
        needed("seaweedfs", "weed"),
        "-logtostderr=true",
        "server",
        "-dir=.",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=2000",
        "-s3",
        f"-s3.port={port}",
        "-s3.config=s3.json",
        "-master.telemetry=false",
        # These have ports and places of their own, which a second server would find taken.
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-filer.localSocket=filer.sock",
        "-s3.localSocket=s3.sock",
    ]
    inner = ("master", "volume", "filer")
    command += [f"-{part}.port={next(ports)}" for part in inner]
    command += [f"-{part}.port.grpc={next(ports)}" for part in (*inner, "s3")]
    # Every bucket takes volumes of its own: one at a time, not seven.
    growth = {f"WEED_MASTER_VOLUME_GROWTH_COPY_{copies}": "1" for copies in (1, 2, 3, "OTHER")}
    return Plan(
        server=server,
        command=tuple(command),
        environment=growth,
        files={"s3.json": json.dumps(identities)},
    )


def _moto(ports: Iterator[int]) -> Plan:
    port = next(ports)
    command = (needed("moto", "moto_server"), "-H", HOST, "-p", str(port))
    return Plan(server=_s3("moto", port), command=command)


def _azurite(ports: Iterator[int]) -> Plan:
    port, account = next(ports), "devstoreaccount1"
    server = Server(
        name="azurite",
        kind="azure",
        endpoint=f"http://{HOST}:{port}/{account}",
        account=account,
        secret=base64.b64encode(secrets.token_bytes(64)).decode(),
    )
    command = [needed("azurite", "azurite-blob"), "--blobHost", HOST, "--blobPort", str(port)]
    command += ["--inMemoryPersistence", "--silent"]
    command += ["--disableTelemetry", "--skipApiVersionCheck"]
    keys = {"AZURITE_ACCOUNTS": f"{account}:{server.secret}"}
    return Plan(server=server, command=tuple(command), environment=keys)


def _s3rver(ports: Iterator[int]) -> Plan:
    port = next(ports)
    # It knows these keys, and no others.
    server = dataclasses.replace(_s3("s3rver", port), account="S3RVER", secret="S3RVER")
    command = (needed("s3rver", "s3rver"), "-d", ".", "-a", HOST, "-p", str(port))
    return Plan(server=server, command=command)


def _rclone(ports: Iterator[int]) -> Plan:
    port = next(ports)
    server = _s3("rclone", port)
    command = (needed("rclone", "rclone"), "serve", "s3", "--addr", f"{HOST}:{port}", ".")
    pair = f'"{server.account},{server.secret}"'  # in quotes: it is read as a line of CSV
    settings = {"RCLONE_AUTH_KEY": pair, "RCLONE_CONFIG": os.devnull}
    return Plan(server=server, command=command, environment=settings)


PLANS: dict[str, Callable[[Iterator[int]], Plan]] = {
    "minio": _minio,
    "seaweedfs": _seaweedfs,
    "moto": _moto,
    "azurite": _azurite,
    "s3rver": _s3rver,
    "rclone": _rclone,
}
NAMES = tuple(PLANS)
