"""A canary for every credential: no log, error, repr, document, output or command line shows it."""

import importlib.util
import json
import logging
import os
import secrets
import subprocess
import sys
import textwrap
import traceback
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

import lakehouse
from catalog import LakehouseError
from catalog.storage import open_storage
from lakehouse.cli import app
from lakehouse.testing import FaultRule

SAS = "c4n4ry%2Bsignature%3D"


class Watch:
    """Collect what a program shows, and look for secrets in it."""

    def __init__(self, *hidden):
        self._hidden = hidden
        self.shown = []

    def see(self, *things):
        self.shown += [f"{thing!r} {thing}" for thing in things]

    def attempt(self, do):
        try:
            self.see(do())
        except (LakehouseError, duckdb.Error) as error:
            self.see("".join(traceback.format_exception(error)), error, vars(error))

    def check(self):
        assert len(self.shown) > 5
        assert [text for text in self.shown for secret in self._hidden if secret in text] == []


def exercise(lake, watch):
    storage = lake.catalog.storage
    watch.see(lake, lake.catalog, storage, storage.options, storage.settings, storage.child("x"))
    watch.attempt(lambda: lake.create_table("bronze.t", {"n": "BIGINT"}, if_not_exists=True))
    watch.attempt(lambda: lake.table("bronze.t").append([{"n": 1}]))
    watch.attempt(lambda: lake.table("bronze.t").history())
    watch.attempt(lambda: lake.table("bronze.t").detail())
    watch.attempt(lambda: lake.table("bronze.t").to_deltalake(version=77))
    watch.attempt(lambda: lake.sql("SELECT * FROM bronze.t").fetchall())
    watch.attempt(lambda: lake.explain("SELECT * FROM bronze.t"))
    watch.attempt(lambda: lake.sql(f"SELECT * FROM '{lake.uri}/none.parquet'").fetchall())
    watch.attempt(lambda: lake.sql(f"SELECT * FROM read_csv('{lake.uri}/*.csv')").fetchall())
    for function in ("duckdb_secrets", "duckdb_settings", "duckdb_logs"):
        watch.attempt(lambda name=function: lake.sql(f"SELECT * FROM {name}()").fetchall())
    watch.attempt(lake.catalog.history)
    watch.attempt(lambda: lake.register_table("bronze.u", f"{lake.uri}/nowhere"))


WAYS = [("obstore", where) for where in ("option", "environment", "function")]
if importlib.util.find_spec("duckdb_extension_httpfs"):
    WAYS += [("duckdb", "option"), ("duckdb", "environment")]


@pytest.mark.parametrize(("reader", "where"), WAYS)
def test_s3(minio, proxy, where, reader, monkeypatch, caplog, capfd):
    """On DuckDB 1.5.5 httpfs may read: its errors are looked at, too."""
    uri, options = minio.bucket(), minio.options()
    options |= {"endpoint_url": proxy.url, "retries": 0, "reader": reader}
    name, secret = options["access_key_id"], options["secret_access_key"]
    watch = Watch(secret)
    if where != "option":
        del options["access_key_id"], options["secret_access_key"]
    if where == "environment":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    if where == "function":
        keys = {"access_key_id": name, "secret_access_key": secret}
        options["credentials"] = lambda: keys
    with caplog.at_level(logging.DEBUG):
        with lakehouse.connect(uri, **options) as lake:
            exercise(lake, watch)
            for fault in ("expired", "refused", "unavailable", "reset"):
                proxy.set_faults(rules=[FaultRule(fault)])
                exercise(lake, watch)
                watch.attempt(lambda: lakehouse.connect(uri, **options))
            proxy.set_faults()
        for wrong in (
            {"region": 7},
            {"nonsense": secret},
            {"endpoint_url": f"http://u:{secret}@h"},
        ):
            watch.attempt(lambda wrong=wrong: lakehouse.connect(uri, **{**options, **wrong}))
        storage = open_storage(uri, **options)
        for item in storage.list():
            watch.see(storage.read(item.path).decode(errors="replace"))
    watch.see(caplog.text, *capfd.readouterr())
    watch.check()


def test_a_key_that_is_wrong_and_a_token(minio, proxy):
    options = minio.options()
    canary, token = f"c4n4ry{secrets.token_hex(8)}", f"t0ken{secrets.token_hex(8)}"
    watch = Watch(canary, token)
    options |= {"endpoint_url": proxy.url, "retries": 0}
    unfit: Any = (
        {"secret_access_key": canary},
        {"session_token": token},
        {
            "credentials": lambda: {
                "access_key_id": "a",
                "secret_access_key": canary,
                "token": token,
            }
        },
        {"credentials": lambda: [][int(canary)]},
        {"client_options": {"default_headers": {"x-token": token}}, "access_key_id": canary},
    )
    for wrong in unfit:
        found = {**options, **wrong}
        if "credentials" in found:
            del found["access_key_id"], found["secret_access_key"]
        uri = minio.bucket()
        storage = open_storage(uri, **found)
        watch.see(storage, storage.settings)
        for do in (
            lambda: lakehouse.connect(uri, **found),  # noqa: B023 - called here
            lambda: storage.read("x"),  # noqa: B023
            lambda: storage.put("x", b""),  # noqa: B023
            lambda: storage.delete(["x"]),  # noqa: B023
        ):
            watch.attempt(do)
    watch.check()


@pytest.mark.parametrize("how", ["sas", "connection_string", "key"])
def test_azure(server, how):
    azurite = server("azurite")
    uri, options = azurite.bucket(), {**azurite.options(), "retries": 0}
    watch = Watch(SAS, "c4n4ry", azurite.secret)
    if how == "sas":
        del options["account_key"]
        options["sas_token"] = f"sv=2021-08-06&ss=b&sig={SAS}"
    elif how == "connection_string":
        text = f"AccountName={azurite.account};AccountKey=YzRuNHJ5;BlobEndpoint={azurite.endpoint}"
        options = {"connection_string": text, "retries": 0}
        watch = Watch("YzRuNHJ5", text)
    watch.attempt(lambda: lakehouse.connect(uri, **options))
    storage = open_storage(uri, **options)
    watch.see(storage, storage.settings)
    for do in (
        lambda: storage.read("x"),
        lambda: storage.put("x", b""),
        lambda: [*storage.list()],
        lambda: storage.delete(["x"]),
        lambda: storage.head("x"),
    ):
        watch.attempt(do)
    if how == "key":
        with lakehouse.connect(uri, **options) as lake:
            exercise(lake, watch)
    watch.check()


def test_the_command_line(minio, monkeypatch):
    uri, options = minio.bucket(), minio.options()
    watch = Watch(minio.secret)
    monkeypatch.setenv("AWS_ENDPOINT_URL", options["endpoint_url"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", minio.account)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", minio.secret)
    with lakehouse.connect(uri) as lake:
        lake.create_table("bronze.t", {"n": "BIGINT"}).append([{"n": 1}])
    runs = [["doctor", "--deep"], ["doctor", "--json"], ["ls"], ["show", "bronze.t"]]
    runs += [["history", "bronze.t", "--json"], ["show", "bronze.none"], ["sql", "SELECT * FROM x"]]
    for arguments in runs:
        result = CliRunner().invoke(app, arguments, env={"LAKEHOUSE_URI": uri})
        assert (result.exit_code == 0) is (
            "none" not in arguments[-1] and "FROM x" not in arguments[-1]
        )
        watch.see(result.output, result.exception)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "c4n4ry")
    watch.see(CliRunner().invoke(app, ["ls"], env={"LAKEHOUSE_URI": uri}).output)
    watch.check()


PROGRAM = """
    import json, pathlib, sys
    import lakehouse

    found = []

    def look():
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                found.append((folder / "cmdline").read_text())
            except OSError:
                pass

    options = json.load(sys.stdin)
    with lakehouse.connect(options.pop("uri"), **options) as lake:
        table = lake.create_table("bronze.t", {"n": "BIGINT"})
        table.append([{"n": 1}])
        look()
        lake.sql("SELECT * FROM bronze.t").fetchall()
        table.checkpoint()
        look()
    print(any(options["secret_access_key"] in line for line in found), len(found) > 2)
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc")  # noqa: PTH112
def test_processes_and_verbose_libraries(minio):
    """Neither command lines, nor what Rust and Python log when they are asked for everything."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore", "-c", textwrap.dedent(PROGRAM)],
        input=json.dumps({"uri": minio.bucket(), **minio.options()}),
        env={**os.environ, "RUST_LOG": "trace", "RUST_BACKTRACE": "full"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "False True", done.stderr
    assert minio.secret not in done.stderr
