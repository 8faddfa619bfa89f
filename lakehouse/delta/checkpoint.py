"""Write checkpoints: the whole state of a version as one Parquet file.

Source: Delta protocol, "Checkpoints", "Last Checkpoint File". Written by DuckDB with statistics
as JSON, for every reader, and typed (``stats_parsed``, ``partitionValues_parsed``), for quick
ones; verified before ``_last_checkpoint`` names it.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from catalog import lazy
from catalog.errors import CorruptionError
from lakehouse.delta import actions as act
from lakehouse.delta.codec import LARGEST_COMMIT, from_lines, to_json
from lakehouse.delta.files.sorted_adds import VECTOR, sorted_adds
from lakehouse.delta.log import LAST_CHECKPOINT, LOG, CommitFile, read_listing, segment
from lakehouse.delta.properties import interval
from lakehouse.delta.replay import checkpoint_tombstones
from lakehouse.delta.schema.fields import FLOATS
from lakehouse.delta.snapshot import Snapshot
from lakehouse.delta.transactions import unexpired
from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.sql import identifier, literal

pa: Any = lazy.module("pyarrow")

_WEEK = 7 * 24 * 3600 * 1000
_RETENTION = "delta.deletedFileRetentionDuration"
_TEXTS = "MAP(VARCHAR, VARCHAR)"
_AS_JSON = "delta.checkpoint.writeStatsAsJson"
# Small enough to prune well, large enough for a short footer and good compression.
_ROW_GROUP = 65_536
_SHAPES: dict[str, Any] = {
    "txn": {"appId": "VARCHAR", "version": "BIGINT", "lastUpdated": "BIGINT"},
    "remove": {
        "path": "VARCHAR", "deletionTimestamp": "BIGINT", "dataChange": "BOOLEAN",
        "extendedFileMetadata": "BOOLEAN", "partitionValues": _TEXTS, "size": "BIGINT",
        "deletionVector": VECTOR, "tags": _TEXTS, "baseRowId": "BIGINT",
        "defaultRowCommitVersion": "BIGINT",
    },
    "metaData": {
        "id": "VARCHAR", "name": "VARCHAR", "description": "VARCHAR",
        "format": {"provider": "VARCHAR", "options": _TEXTS}, "schemaString": "VARCHAR",
        "partitionColumns": ["VARCHAR"], "configuration": _TEXTS, "createdTime": "BIGINT",
    },
    "protocol": {
        "minReaderVersion": "INTEGER", "minWriterVersion": "INTEGER",
        "readerFeatures": ["VARCHAR"], "writerFeatures": ["VARCHAR"],
    },
    "domainMetadata": {"domain": "VARCHAR", "configuration": "VARCHAR", "removed": "BOOLEAN"},
}  # fmt: skip


def write_checkpoint(snapshot: Snapshot, engine: Engine, *, now: int | None = None) -> int:
    """Write the checkpoint of a snapshot, verify it, and name it; return its bytes.

    ``now`` is in milliseconds since the epoch; tombstones older than the table's
    ``delta.deletedFileRetentionDuration`` (a week) before it are left out.
    """
    millis = time.time_ns() // 1_000_000 if now is None else now
    others = _other_actions(snapshot, engine, millis)
    path = f"{LOG}/{snapshot.version:020d}.checkpoint.parquet"
    with tempfile.TemporaryDirectory(prefix="lakehouse-checkpoint-") as folder:
        file = Path(folder) / "checkpoint.parquet"
        with engine.work("write a checkpoint") as cursor:
            _copy(cursor, snapshot, others, str(file))
            _verify(cursor, snapshot, str(file))
        size = file.stat().st_size
        snapshot.storage.upload(path, file)
    hint = {
        "version": snapshot.version,
        "size": len(others) + len(snapshot.files),
        "sizeInBytes": size,
        "numOfAddFiles": len(snapshot.files),
    }
    snapshot.storage.put(LAST_CHECKPOINT, json.dumps(hint).encode())
    return size


def _other_actions(snapshot: Snapshot, engine: Engine, now: int) -> list[act.Action]:
    asked = interval(snapshot.properties.get(_RETENTION, ""))
    kept = _WEEK if asked is None else asked
    alive = [
        remove for remove in _tombstones(snapshot, engine)
        if (remove.deletion_timestamp or 0) > now - kept
    ]  # fmt: skip
    domains = [domain for domain in snapshot.domains.values() if not domain.removed]
    return [
        snapshot.protocol,
        snapshot.metadata,
        *unexpired(snapshot.transactions, snapshot.properties, now=now).values(),
        *domains,
        *alive,
    ]


def _tombstones(snapshot: Snapshot, engine: Engine) -> list[act.RemoveFile]:
    listing = read_listing(snapshot.storage, start=snapshot.checkpoint_version or 0)
    parts = segment(listing, snapshot.version)
    removes: dict[act.FileKey, act.RemoveFile] = {}
    if parts.checkpoint is not None:
        older = checkpoint_tombstones(snapshot.storage, parts.checkpoint, engine)
        removes |= {remove.key: remove for remove in older}
    for commit in parts.commits:
        for action in _removals(snapshot, commit):
            if isinstance(action, act.RemoveFile):
                removes[action.key] = action
    live = snapshot.files.find({file for file, _ in removes}).keys() if removes else set()
    return [remove for key, remove in removes.items() if key not in live]


def _removals(snapshot: Snapshot, commit: CommitFile) -> list[act.Action]:
    """Return the actions of a commit that may remove files: it may add a hundred thousand."""
    body = snapshot.storage.read(commit.path, at_most=LARGEST_COMMIT)
    if b'"remove"' not in body:
        return []
    lines = [line for line in body.splitlines() if b'"remove"' in line]
    return from_lines(b"\n".join(lines), where=commit.path) if lines else []


def _copy(cursor: Connection, snapshot: Snapshot, others: list[act.Action], target: str) -> None:
    schema = pa.schema([("kind", pa.string()), ("body", pa.string())])
    rows = [
        {"kind": kind, "body": json.dumps(body)}
        for action in others
        for kind, body in to_json(action).items()
    ]
    cursor.register("others", pa.Table.from_pylist(rows, schema=schema))
    # Kinds of actions that the table has none of would be columns of a million NULLs.
    present = {row["kind"] for row in rows}
    columns = ", ".join(
        f"CASE WHEN kind = '{kind}' THEN {_parsed('body', shape)} END AS {identifier(kind)}"
        for kind, shape in _SHAPES.items()
        if kind in present
    )
    with_json = snapshot.properties.get(_AS_JSON, "").lower() != "false"
    adds = sorted_adds(cursor, snapshot.files, with_json=with_json)
    # What is not about a file comes first: whoever looks for it reads one row group.
    cursor.execute(
        f"COPY (SELECT {columns} FROM others UNION ALL BY NAME {adds}) "
        f"TO {literal(target)} ({', '.join(_options(snapshot))})"
    )


def _options(snapshot: Snapshot) -> list[str]:
    # Level 1 compresses random names and statistics better than the levels above it, and quicker.
    options = [
        "FORMAT parquet", "COMPRESSION zstd", "COMPRESSION_LEVEL 1",
        f"ROW_GROUP_SIZE {_ROW_GROUP}",
    ]  # fmt: skip
    layout = snapshot.files.layout
    types = [field.type for field in layout.partitions] + [leaf.type for leaf in layout.leaves]
    if not any(type_ in FLOATS for type_ in types):
        # Integers, times and names shrink by a third. Floats would be split into streams of
        # bytes, which Spark cannot read.
        options.append("PARQUET_VERSION V2")
    return options


def _parsed(column: str, shape: dict[str, Any]) -> str:
    # What is no JSON is unknown: statistics are the writer's, and no reason to fail.
    return f"TRY(from_json({column}, {literal(json.dumps(shape))}))"


def _verify(cursor: Connection, snapshot: Snapshot, file: str) -> None:
    row = cursor.execute(
        "SELECT count(add.path), coalesce(sum(add.size), 0), count(protocol.minReaderVersion), "
        f"count(metaData.id) FROM read_parquet({literal(file)})"
    ).fetchone()
    expected = (len(snapshot.files), snapshot.files.bytes, 1, 1)
    if row is None or tuple(map(int, row)) != expected:
        raise CorruptionError(
            f"the checkpoint of version {snapshot.version} came out wrong: {row}, not {expected}",
            next_step="Report this; the table is whole, and reads its log instead",
        )
