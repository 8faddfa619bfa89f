"""Real object stores start, keep what they promise, are shared, and end with their users."""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError
from obstore.store import AzureStore, ObjectStore, S3Store

from catalog.errors import InputError, StorageError
from lakehouse.testing.servers import NotInstalledError, Server, start

WRITERS = 8


def opened(server: Server) -> ObjectStore:
    bucket = server.bucket().partition("://")[2]
    if server.kind == "azure":
        return AzureStore(
            bucket,
            endpoint=server.endpoint,
            account_name=server.account,
            account_key=server.secret,
            client_options={"allow_http": True},
        )
    return S3Store(
        bucket,
        endpoint=server.endpoint,
        access_key_id=server.account,
        secret_access_key=server.secret,
        region=server.region,
        client_options={"allow_http": True},
    )


def created(store: ObjectStore, writer: int) -> bool:
    try:
        obstore.put(store, "_delta_log/0.json", str(writer).encode(), mode="create")
    except AlreadyExistsError:
        return False
    return True


def winners(store: ObjectStore) -> list[int]:
    with ThreadPoolExecutor(WRITERS) as pool:
        answers = list(pool.map(created, [store] * WRITERS, range(WRITERS)))
    return [writer for writer, won in enumerate(answers) if won]


def listens(server: Server) -> bool:
    address = urlsplit(server.endpoint)
    with socket.socket() as probe:
        return probe.connect_ex((address.hostname, address.port)) == 0


def ends(server: Server) -> bool:
    deadline = time.monotonic() + 30
    while listens(server) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not listens(server)


def test_of_many_creators_one_wins(object_store) -> None:
    store = opened(object_store)
    (winner,) = winners(store)
    assert obstore.get(store, "_delta_log/0.json").bytes().to_bytes() == str(winner).encode()


def test_unfit_stores_let_everybody_win(unfit_store) -> None:
    assert len(winners(opened(unfit_store))) == WRITERS


def test_every_bucket_is_new(object_store) -> None:
    uris = {object_store.bucket() for _ in range(3)}
    assert len(uris) == 3


def test_wrong_keys_are_refused(server) -> None:
    for name in ("minio", "seaweedfs", "azurite"):
        right = server(name)
        stranger = dataclasses.replace(right, secret="d3Jvbmc=")
        with pytest.raises(StorageError) as refused:
            stranger.bucket()
        assert right.secret not in str(refused.value)


def test_secrets_are_not_shown(object_store) -> None:
    assert object_store.secret not in repr(object_store)
    assert object_store.secret in object_store.options().values()
    shown = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True)
    assert object_store.secret not in shown.stdout


def test_processes_share_a_server_until_the_last_ends(server, tmp_path) -> None:
    server("rclone")  # skips where it is not installed
    with start("rclone", shared=tmp_path) as first:
        with start("rclone", shared=tmp_path) as second:
            assert second == first
        assert listens(first)
    assert ends(first)
    assert not (tmp_path / "rclone" / "server.json").exists()
    with start("rclone", shared=tmp_path) as again:
        assert again != first
        again.bucket()


def test_a_server_ends_with_a_killed_user(server, tmp_path) -> None:
    server("rclone")
    user = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from lakehouse.testing.servers import start
        with start("rclone", shared=Path(sys.argv[1])) as server:
            print("started", flush=True)
            time.sleep(300)
        """
    )
    command = [sys.executable, "-c", user, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        with start("rclone", shared=tmp_path) as running:
            process.send_signal(signal.SIGKILL)
            process.wait()
            running.bucket()
    assert ends(running)


def test_a_server_that_does_not_come_up_says_why(tmp_path, monkeypatch) -> None:
    program = tmp_path / "minio"
    program.write_text('#!/bin/sh\necho "no room; $MINIO_ROOT_PASSWORD"; exit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("LAKEHOUSE_TEST_MINIO", raising=False)
    with pytest.raises(StorageError, match=r"(?s)minio did not come up.*no room; \*\*\*") as told:
        with start("minio"):
            pass
    assert (
        str(told.value).count("no room") == 1
    )  # the keys of an earlier try are not known any more


def test_a_server_that_is_not_installed_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("LAKEHOUSE_TEST_MINIO", raising=False)
    for name in ("minio", "azurite", "s3rver"):
        with pytest.raises(NotInstalledError, match=f"{name} is not installed.*make servers"):
            with start(name):
                pass
    with pytest.raises(InputError, match="no server 'ceph'"):
        with start("ceph"):
            pass


def test_a_minio_that_runs_already_is_used(server, monkeypatch) -> None:
    running = server("minio")
    monkeypatch.setenv("LAKEHOUSE_TEST_MINIO", running.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", running.account)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", running.secret)
    with start("minio") as server:
        assert server == running
        assert server.bucket().startswith("s3://")
    assert listens(running)
