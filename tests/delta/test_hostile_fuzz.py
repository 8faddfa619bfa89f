"""Mutated logs: a LakehouseError, or the rows that deltalake reads too; nothing else, ever."""

import contextlib
import copy
import json
import os
import shutil
from typing import Any

import deltalake
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.storage import open_storage
from lakehouse import LakehouseError
from lakehouse.duck.engine import Engine
from lakehouse.scan.read import Scanner
from lakehouse.table.background import Background
from lakehouse.table.handle import Table
from tests.delta.hostile import STATS, Log, add, build, remove

EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "50"))
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 1.5, "", "x", "1", "p", "n", "long", "..",
     "/etc/passwd", "p=x/a.parquet", "p=y/a.parquet", "%2e%2e/x", "\0", "\ud800", [], {}, [[]],
     {"p": "x"}, {"p": None}, {"numRecords": 1}, '{"numRecords":-1}', STATS, "struct", "date"]
)  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A table of five versions, whose actions a mutation may take from one to another."""
    folder = tmp_path_factory.mktemp("fuzz") / "table"
    build(folder)
    log = Log(folder)
    log.write(3, remove("y"), {"txn": {"appId": "a", "version": 1}})
    log.write(4, add("y", stats='{"numRecords":1}', tags={"a": "b"}))
    return folder


@pytest.fixture(scope="module")
def engine():
    with Engine() as engine:
        yield engine


def _places(value, path=()):
    """Return where values stand in a tree."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) \
        if isinstance(value, list) else ()  # fmt: skip
    for key, inner in items:
        found += _places(inner, (*path, key))
    return found


def _swap_value(draw, lines):
    number = draw(st.integers(0, len(lines) - 1))
    try:
        action: Any = json.loads(lines[number])
    except ValueError:
        return  # an earlier mutation was here
    if not isinstance(action, dict) or not _places(action):
        return
    inner: Any = action.get("metaData")
    schema = inner.get("schemaString") if isinstance(inner, dict) else None
    if isinstance(schema, str) and draw(st.booleans()):
        with contextlib.suppress(ValueError):
            inner["schemaString"] = json.loads(schema)
    where = draw(st.sampled_from(_places(action)))
    parent: Any = action
    for key in where[:-1]:
        parent = parent[key]
    if isinstance(parent, dict) and draw(st.booleans()):
        value = parent.pop(where[-1])
        parent[draw(st.sampled_from([str(where[-1]), "x", "path", "add", "type"]))] = value
    else:
        parent[where[-1]] = copy.copy(draw(VALUES))
    if schema is not None and isinstance(inner.get("schemaString"), dict):
        inner["schemaString"] = json.dumps(inner["schemaString"])
    lines[number] = json.dumps(action).encode()


def _flip_bytes(draw, lines):
    number = draw(st.integers(0, len(lines) - 1))
    line = bytearray(lines[number] or b" ")
    for _ in range(draw(st.integers(1, 4))):
        line[draw(st.integers(0, len(line) - 1))] = draw(st.integers(0, 255))
    lines[number] = bytes(line)


def _cut_line(draw, lines):
    number = draw(st.integers(0, len(lines) - 1))
    lines[number] = lines[number][: draw(st.integers(0, len(lines[number])))]


def _drop_line(draw, lines):
    del lines[draw(st.integers(0, len(lines) - 1))]


def _repeat_line(draw, lines):
    lines.append(lines[draw(st.integers(0, len(lines) - 1))])


MUTATIONS = [
    _swap_value,
    _swap_value,
    _swap_value,
    _flip_bytes,
    _cut_line,
    _drop_line,
    _repeat_line,
]


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_a_mutated_log_is_refused_or_read_as_deltalake_reads_it(sound, engine, tmp_path, data):
    root = tmp_path / "table"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(sound, root)
    for _ in range(data.draw(st.integers(1, 2))):
        file = Log(root).file(data.draw(st.integers(0, 4)))
        lines = file.read_bytes().splitlines()
        if lines and any(lines):
            data.draw(st.sampled_from(MUTATIONS))(data.draw, lines)
        file.write_bytes(b"\n".join(lines))
    table = Table(
        "bronze.t", open_storage(root, durable=False), engine, Scanner(engine), Background(engine)
    )
    for call in (table.history, table.detail, table.files):
        _outcome(call)
    ours = _outcome(lambda: table.read().fetchall())
    pruned = _outcome(lambda: table.read(where="n IS NOT NULL AND n = n").fetchall())
    if ours is not None:
        theirs = _theirs(root)
        assert theirs is None or _sorted(ours) == _sorted(theirs)
        assert pruned is None or len(pruned) <= len(ours)
    _outcome(lambda: table.append([{"n": 9, "p": "z"}]))


def _outcome(call):
    with contextlib.suppress(LakehouseError):
        return call()
    return None


def _theirs(root):
    try:
        table = deltalake.DeltaTable(root)
        rows = deltalake.QueryBuilder().register("t", table).execute("SELECT * FROM t").read_all()
        return [tuple(row.values()) for row in pa.table(rows).to_pylist()]
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return None


def _sorted(rows):
    return sorted((tuple(row) for row in rows), key=repr)
