"""The bootstrap and the worker, with the commands and the environment of compose.yaml."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lakehouse
from tests.docker import compose

PROGRAM = {
    "init": "from lakehouse.cli import main; main()",
    # As the entry point of the group `lakehouse.commands` starts it.
    "maintain": "import sys; from compaction.cli.maintain import app; app(args=sys.argv[2:])",
}


class Stack:
    """Start services of compose.yaml without Docker, on a server that runs, in a new bucket."""

    def __init__(self, server: Any, folder: Path) -> None:
        self.bucket = server.bucket().partition("://")[2]
        self.server = server
        environment = compose.new_environment(folder)
        # Users are the server's, and tests share it.
        for name in ("LAKEHOUSE_WRITER_KEY", "LAKEHOUSE_READER_KEY"):
            environment[name] += uuid.uuid4().hex[:6]
        self.environment = environment | {
            "STORAGE_ADMIN_KEY": server.account,
            "STORAGE_ADMIN_SECRET": server.secret,
            "UPKEEP_SECONDS": "1",
        }
        self.services = compose.load(self.environment)["services"]

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/lake"

    def command(self, name: str) -> list[str]:
        words = self.services[name]["command"]
        return [sys.executable, "-W", "error", "-c", PROGRAM[words[0]], *words]

    def variables(self, name: str) -> dict[str, str]:
        assert self.services[name]["environment"]["LAKEHOUSE_URI"] == "s3://lakehouse/lake"
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LAKEHOUSE_"))}
        given = {k: str(v) for k, v in self.services[name]["environment"].items()}
        here = {"LAKEHOUSE_URI": self.uri, "AWS_ENDPOINT_URL": self.server.endpoint}
        return {**clean, **given, **here}

    def run(self, name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(name),
            env=self.variables(name),
            capture_output=True,
            text=True,
            timeout=120,
        )

    @contextlib.contextmanager
    def running(self, name: str, *args: str, **more: str) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            [*self.command(name), *args],
            env={**self.variables(name), **more},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def connect(self, role: str, **options: Any) -> lakehouse.Lake:
        return lakehouse.connect(
            self.uri,
            create=False,
            endpoint_url=self.server.endpoint,
            region=self.server.region,
            access_key_id=self.environment[f"LAKEHOUSE_{role}_KEY"],
            secret_access_key=self.environment[f"LAKEHOUSE_{role}_SECRET"],
            **options,
        )


@pytest.fixture
def stack(server, tmp_path: Path) -> Stack:
    return Stack(server("minio"), tmp_path)


def test_bootstrap_and_again(stack: Stack) -> None:
    for _ in range(2):
        finished = stack.run("bootstrap")
        assert (finished.returncode, finished.stdout) == (0, ""), finished.stderr
        said = finished.stdout + finished.stderr
        assert not [v for k, v in stack.environment.items() if k.endswith("_SECRET") and v in said]
    with stack.connect("READER") as lake:
        assert lake.layers() == ["bronze", "silver", "gold"]


def test_the_writer_writes_and_the_reader_reads(stack: Stack) -> None:
    assert stack.run("bootstrap").returncode == 0
    with stack.connect("WRITER") as lake:
        lake.create_table("bronze.a", {"n": "BIGINT"}).append([{"n": 1}, {"n": 2}])
    with stack.connect("READER") as lake:
        assert lake.sql("SELECT sum(n) FROM bronze.a").fetchall() == [(3,)]
        with pytest.raises(lakehouse.LakehouseError, match=r"403|permission denied"):
            lake.table("bronze.a").append([{"n": 3}])
        assert lake.sql("SELECT sum(n) FROM bronze.a").fetchall() == [(3,)]


def test_the_worker_looks_after_the_lake_until_it_is_stopped(stack: Stack) -> None:
    assert stack.run("bootstrap").returncode == 0
    with stack.connect("WRITER") as lake:
        table = lake.create_table("bronze.a", {"n": "BIGINT"})
        for n in range(3):
            table.append([{"n": n}])
        with stack.running("upkeep", "--listen", "127.0.0.1:0") as process:
            assert process.stdout is not None
            events = (json.loads(line) for line in process.stdout)
            address = next(e["address"] for e in events if e["event"] == "listening")
            first = next(e for e in events if e["event"] == "upkeep")
            assert (first["before"]["files"], first["after"]["files"]) == (3, 1)
            assert first["problems"] == []
            with urllib.request.urlopen(f"http://{address}/healthz", timeout=30) as answer:
                assert json.load(answer)["healthy"]
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
                text = answer.read().decode()
            assert 'lakehouse_upkeep_runs_total{outcome="done",table="bronze.a"} ' in text
            process.send_signal(signal.SIGTERM)
            rest = process.stdout.read()
            assert process.wait(60) == 0
            secrets = [v for k, v in stack.environment.items() if k.endswith("_SECRET")]
            said = json.dumps(first) + rest + text
            assert not [secret for secret in secrets if secret in said]
        assert lake.sql("SELECT count(*), sum(n) FROM bronze.a").fetchall() == [(3, 3)]
        runs = lake.sql(
            "SELECT table_name, files_before, files_after FROM system.maintenance ORDER BY started"
        ).fetchall()
        assert (runs[0], {*runs[1:]} - {("bronze.a", 1, 1)}) == (("bronze.a", 3, 1), set())
