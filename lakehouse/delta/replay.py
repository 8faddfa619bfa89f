"""Replay a segment of the log into the state of a table.

Source: Delta protocol, "Action Reconciliation". The newest action about a file, an application
or a domain wins; a file is identified by its path and its deletion vector.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from catalog.errors import CorruptionError
from catalog.storage import Storage
from lakehouse.delta import actions as act
from lakehouse.delta.codec import LARGEST_COMMIT, from_json, from_lines
from lakehouse.delta.files import RAW, raw_table
from lakehouse.delta.log import LOG, Checkpoint
from lakehouse.delta.paths import check_sidecar
from lakehouse.delta.soundness import check_files, check_once, check_state
from lakehouse.delta.strict_json import document
from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.sql import escaped, literal

_OTHERS = ("metaData", "protocol", "txn", "domainMetadata", "sidecar", "checkpointMetadata")
_ADD_EXTRA = ("tags", "baseRowId", "defaultRowCommitVersion", "clusteringProvider")


@dataclasses.dataclass(frozen=True, slots=True)
class Tail:
    """Hold what commits changed: the last word on each file, and the newest other actions.

    ``adds`` are live after the commits, ``removes`` are their tombstones; ``gone`` are the keys
    of both, which an older state must forget.
    """

    adds: tuple[act.AddFile, ...] = ()
    removes: tuple[act.RemoveFile, ...] = ()
    gone: frozenset[tuple[str, str]] = frozenset()
    metadata: act.Metadata | None = None
    protocol: act.Protocol | None = None
    transactions: Mapping[str, act.Transaction] = dataclasses.field(default_factory=dict)
    domains: Mapping[str, act.DomainMetadata] = dataclasses.field(default_factory=dict)
    in_commit_timestamp: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Base:
    """Hold the state at a checkpoint. ``files`` has the columns of RAW."""

    files: pa.Table
    tail: Tail


def nothing() -> Base:
    """Return the state before the first commit."""
    return Base(RAW.empty_table(), Tail())


def replay(commits: Iterable[list[act.Action]]) -> Tail:
    """Fold commits, oldest first, into their net effect.

    Each commit must have passed `check_commit`.
    """
    files: dict[tuple[str, str], act.AddFile | act.RemoveFile] = {}
    metadata: act.Metadata | None = None
    protocol: act.Protocol | None = None
    transactions: dict[str, act.Transaction] = {}
    domains: dict[str, act.DomainMetadata] = {}
    timestamp: int | None = None
    for commit in commits:
        timestamp = None
        # Removes first: one commit may remove a file and add it again with another vector.
        for action in commit:
            if isinstance(action, act.RemoveFile):
                files[action.key] = action
        for action in commit:
            match action:
                case act.AddFile():
                    files[action.key] = action
                case act.Metadata():
                    metadata = action
                case act.Protocol():
                    protocol = action
                case act.Transaction():
                    transactions[action.app_id] = action
                case act.DomainMetadata():
                    domains[action.domain] = action
                case act.CommitInfo():
                    value = action.values.get("inCommitTimestamp")
                    timestamp = value if isinstance(value, int) else None
                case _:
                    pass
    return Tail(
        adds=tuple(file for file in files.values() if isinstance(file, act.AddFile)),
        removes=tuple(file for file in files.values() if isinstance(file, act.RemoveFile)),
        gone=frozenset(files),
        metadata=metadata,
        protocol=protocol,
        transactions=MappingProxyType(transactions),
        domains=MappingProxyType(domains),
        in_commit_timestamp=timestamp,
    )


def read_checkpoint(storage: Storage, checkpoint: Checkpoint, engine: Engine) -> Base:
    """Read the state at a checkpoint: classic, in parts, or v2 with its sidecars.

    Raises CorruptionError where it cannot be read, contradicts itself, or cannot be trusted.
    """
    where = checkpoint.paths[0]
    doing = f"read the checkpoint of version {checkpoint.version}"
    storage.require_inside(checkpoint.paths)
    with engine.work(doing, reading=True) as cursor:
        if where.endswith(".json"):
            body = storage.read(where, at_most=LARGEST_COMMIT)
            listed = from_lines(body, where=checkpoint.paths[0])
            others: list[act.Action] = [
                a for a in listed if not isinstance(a, act.AddFile | act.RemoveFile)
            ]
            files = raw_table(a for a in listed if isinstance(a, act.AddFile))
        else:
            urls = _patterns(storage, checkpoint.paths)
            others = _actions(cursor, urls, _OTHERS)
            files = _add_rows(cursor, urls)
        check_state(others, version=checkpoint.version, where=where)
        sidecars = _patterns(storage, _sidecars(others))
        if sidecars:
            files = pa.concat_tables([files, _add_rows(cursor, sidecars)])
        check_files(files, where=where)
        if _repeats(cursor, files):
            check_once(files["file"], where=where)
    return Base(files, replay([[a] for a in others]))


def checkpoint_tombstones(
    storage: Storage, checkpoint: Checkpoint, engine: Engine
) -> list[act.RemoveFile]:
    """Return the tombstones that a checkpoint keeps."""
    doing = f"read the checkpoint of version {checkpoint.version}"
    storage.require_inside(checkpoint.paths)
    with engine.work(doing, reading=True) as cursor:
        if checkpoint.paths[0].endswith(".json"):
            body = storage.read(checkpoint.paths[0], at_most=LARGEST_COMMIT)
            listed = from_lines(body, where=checkpoint.paths[0])
            paths: list[str] = []
        else:
            paths = _patterns(storage, checkpoint.paths)
            listed = _actions(cursor, paths, ("remove", "sidecar"))
        sidecars = _patterns(storage, _sidecars(listed))
        if sidecars:
            listed = [*listed, *_actions(cursor, sidecars, ("remove",))]
    return [action for action in listed if isinstance(action, act.RemoveFile)]


def sidecars_of(storage: Storage, checkpoint: Checkpoint, engine: Engine) -> list[str]:
    """Return the paths of the sidecar files that a checkpoint names."""
    if checkpoint.paths[0].endswith(".json"):
        listed = from_lines(storage.read(checkpoint.paths[0]), where=checkpoint.paths[0])
    else:
        doing = f"read the checkpoint of version {checkpoint.version}"
        with engine.work(doing, reading=True) as cursor:
            urls = [storage.url(path) for path in checkpoint.paths]
            listed = _actions(cursor, urls, ("sidecar",))
    return _sidecars(listed)


def _sidecars(listed: list[act.Action]) -> list[str]:
    return [
        f"{LOG}/_sidecars/{check_sidecar(action.values.get('path'))}"
        for action in listed
        if isinstance(action, act.OtherAction) and action.kind == "sidecar"
    ]


def _patterns(storage: Storage, paths: Iterable[str]) -> list[str]:
    """Return what DuckDB opens for these very files: it takes names as globs."""
    found = list(paths)
    storage.require_inside(found)
    return [escaped(storage.url(path)) for path in found]


def _repeats(cursor: Connection, files: pa.Table) -> bool:
    """Tell whether a file may be there twice; hashes may agree by chance."""
    cursor.register("listed", files.select(["file"]))
    rows = cursor.execute("SELECT count(DISTINCT hash(file)) < count(*) FROM listed").fetchall()
    cursor.unregister("listed")
    return bool(rows[0][0])


def _columns(cursor: Connection, urls: list[str]) -> dict[str, Any]:
    relation = cursor.sql(
        "SELECT * FROM read_parquet($urls, union_by_name = true, hive_partitioning = false)",
        params={"urls": urls},
    )
    return dict(zip(relation.columns, relation.types, strict=True))


def _actions(cursor: Connection, urls: list[str], kinds: tuple[str, ...]) -> list[act.Action]:
    present = [kind for kind in kinds if kind in _columns(cursor, urls)]
    if not present:
        return []
    fields = ", ".join(f"to_json({kind}) AS {kind}" for kind in present)
    where = " OR ".join(f"{kind} IS NOT NULL" for kind in present)
    rows = cursor.execute(
        f"SELECT {fields} FROM read_parquet($urls, union_by_name = true, "
        f"hive_partitioning = false) WHERE {where}",
        {"urls": urls},
    ).fetchall()
    found: list[act.Action] = []
    for row in rows:
        for kind, text in zip(present, row, strict=True):
            if text is not None and text != "null":
                try:
                    found.append(from_json({kind: document(text.encode())}))
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                    raise CorruptionError(f"the checkpoint's {kind} is damaged: {error}") from error
    return found


def _add_rows(cursor: Connection, urls: list[str]) -> pa.Table:
    columns = _columns(cursor, urls)
    if "add" not in columns:
        return RAW.empty_table()
    if columns["add"].id != "struct":
        raise CorruptionError(f"the checkpoint's add is no struct but {columns['add']}")
    fields = {name for name, _ in columns["add"].children}
    if missing := {"path", "partitionValues", "size", "modificationTime"} - fields:
        raise CorruptionError(f"the checkpoint's add has no {min(missing)}")

    def field(name: str, otherwise: str = "NULL") -> str:
        return f'add."{name}"' if name in fields else otherwise

    stats = field("stats")
    if "stats_parsed" in fields:
        stats = f"coalesce({stats}, CAST(to_json({field('stats_parsed')}) AS VARCHAR))"
    extra = [name for name in _ADD_EXTRA if name in fields]
    extra_sql = "NULL"
    if extra:
        packed = ", ".join(f"{literal(name)}: {field(name)}" for name in extra)
        any_set = " OR ".join(f"{field(name)} IS NOT NULL" for name in extra)
        extra_sql = f"CASE WHEN {any_set} THEN to_json({{{packed}}}) END"
    vector = field("deletionVector")
    vector_sql = "NULL"
    if "deletionVector" in fields:
        vector_sql = (
            f"CASE WHEN {vector}.storageType IS NOT NULL THEN {{"
            + ", ".join(
                f"'{name}': {vector}.{name}"
                for name in (
                    "storageType",
                    "pathOrInlineDv",
                    "offset",
                    "sizeInBytes",
                    "cardinality",
                )
            )
            + "} END"
        )
    table = cursor.sql(
        f"SELECT {field('path')} AS path, url_decode({field('path')}) AS file, "
        f"{field('partitionValues')} AS partition_values, {field('size')} AS size, "
        f"{field('modificationTime')} AS modification_time, {stats} AS stats, "
        f"{vector_sql} AS deletion_vector, {extra_sql} AS extra "
        f"FROM read_parquet($urls, union_by_name = true, hive_partitioning = false) "
        f"WHERE add.path IS NOT NULL OR add.size IS NOT NULL",
        params={"urls": urls},
    ).to_arrow_table()
    try:
        return table.cast(RAW)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise CorruptionError(
            f"the checkpoint's add has columns of other types: {error}"
        ) from error
