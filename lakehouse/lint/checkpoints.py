"""Compare a checkpoint, or a log compaction file, with the state that the commits make.

A checkpoint is read by pyarrow, not by DuckDB, which wrote it. Source: Delta protocol, "Checkpoints",
"Log Compaction Files".
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.errors import CorruptionError
from catalog.storage import Storage
from lakehouse.delta import actions as act
from lakehouse.delta.codec import from_json, from_lines
from lakehouse.delta.log import LOG, Checkpoint
from lakehouse.lint.findings import Finding
from lakehouse.lint.history import State, records

_MAPS = ("partitionValues", "tags", "configuration", "options")
_EXPIRES = "delta.setTransactionRetentionDuration"


def read_state(storage: Storage, checkpoint: Checkpoint) -> tuple[State, int]:
    """Return the state that a checkpoint holds, and how many of its files stand there twice.

    Raises CorruptionError where it cannot be read, StorageError where it is gone.
    """
    listed = [action for path in checkpoint.paths for action in _read(storage, path)]
    for action in [*listed]:
        if isinstance(action, act.OtherAction) and action.kind == "sidecar":
            listed += _read(storage, f"{LOG}/_sidecars/{unquote(str(action.values['path']))}")
    state = State()
    state.apply(listed)
    count = sum(isinstance(action, act.AddFile) for action in listed)
    return state, count - len(state.files)


def compare(version: int, held: State, replayed: State, *, repeated: int = 0) -> Iterator[Finding]:
    """Yield the differences between a checkpoint and the state that the commits make."""
    if repeated:
        yield Finding("checkpoint", f"the checkpoint names {repeated} files twice", version)
    for message, path in _differences(held, replayed):
        yield Finding("checkpoint", f"the checkpoint {message}", version, path)


def compare_compacted(version: int, held: State, replayed: State) -> Iterator[Finding]:
    """Yield the differences between a compaction file and the commits that it stands for."""
    for message, path in _differences(held, replayed):
        yield Finding("compaction", f"the compacted log {message}", version, path)
    for path, _ in sorted(held.removed ^ replayed.removed)[:1]:
        message = f"the compacted log removes other files, such as {path}"
        yield Finding("compaction", message, version, path)


def _differences(held: State, replayed: State) -> Iterator[tuple[str, str | None]]:
    for path, _ in sorted(held.files.keys() - replayed.files.keys())[:1]:
        count = len(held.files.keys() - replayed.files.keys())
        yield f"holds {count} files that are not live, such as {path}", path
    for path, _ in sorted(replayed.files.keys() - held.files.keys())[:1]:
        count = len(replayed.files.keys() - held.files.keys())
        yield f"lacks {count} live files, such as {path}", path
    for key in held.files.keys() & replayed.files.keys():
        if not _same(held.files[key], replayed.files[key]):
            yield f"describes {key[0]} otherwise than its commit", key[0]
    alive = held.removed & replayed.files.keys()
    for path, _ in sorted(alive)[:1]:
        yield f"has tombstones of {len(alive)} live files, such as {path}", path
    if held.protocol != replayed.protocol:
        yield "holds another protocol than the commits", None
    if held.metadata != replayed.metadata:
        yield "holds other metadata than the commits", None
    missing = replayed.transactions.items() - held.transactions.items()
    if held.transactions.items() - replayed.transactions.items() or (
        missing and _EXPIRES not in (replayed.metadata.configuration if replayed.metadata else {})
    ):
        yield "holds other app transactions than the commits", None
    if held.domains != replayed.domains:
        yield "holds other domain metadata than the commits", None


def _same(one: act.AddFile, other: act.AddFile) -> bool:
    # A checkpoint may leave statistics out (``delta.checkpoint.writeStatsAsJson``).
    counts = {records(one), records(other)} - {None}
    return _essence(one) == _essence(other) and len(counts) < 2


def _essence(add: act.AddFile) -> tuple[Any, ...]:
    values = {name: value or None for name, value in add.partition_values.items()}
    return values, add.size, add.modification_time, add.deletion_vector


def _read(storage: Storage, path: str) -> list[act.Action]:
    body = storage.read(path)
    if path.endswith(".json"):
        return from_lines(body, where=path)
    try:
        file = pq.ParquetFile(io.BytesIO(body))
        rows = file.read(columns=_columns(file.schema_arrow)).to_pylist()
        return [from_json(_plain(row)) for row in rows if any(row.values())]
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptionError(f"{path} cannot be read: {error}") from error


def _columns(schema: pa.Schema) -> list[str]:
    """Leave out the typed copies of statistics and partition values: they are not compared."""
    return [
        f"{field.name}.{child.name}"
        for field in schema
        if pa.types.is_struct(field.type)
        for child in field.type
        if not child.name.endswith("_parsed")
    ]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {kind: _unwrapped(inner) for kind, inner in row.items() if inner is not None}


def _unwrapped(value: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, inner in value.items():
        if name in _MAPS and isinstance(inner, list):
            found[name] = dict(inner)
        elif isinstance(inner, dict):
            found[name] = _unwrapped(inner)
        elif inner is not None:
            found[name] = inner
    return found


def hint_of(body: bytes) -> int | None:
    """Return the version that ``_last_checkpoint`` names, or None where it makes no sense."""
    try:
        version = json.loads(body)["version"]
    except (ValueError, KeyError, TypeError):
        return None
    return version if isinstance(version, int) else None
