"""Replay a segment of the log into the state of a table.

Source: Delta protocol, "Action Reconciliation". The newest action about a file, an application
or a domain wins; a file is identified by its path and its deletion vector.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from catalog import lazy
from catalog.errors import CorruptionError
from catalog.storage import Storage
from lakehouse.delta import actions as act
from lakehouse.delta.codec import LARGEST_COMMIT, from_json, from_lines
from lakehouse.delta.files.adds import no_rows, raw_table
from lakehouse.delta.files.arrays import texts
from lakehouse.delta.files.bulk import Bulk
from lakehouse.delta.files.stored import StoredFiles, stored_files
from lakehouse.delta.log import LOG, Checkpoint
from lakehouse.delta.paths import check_sidecar
from lakehouse.delta.soundness import check_files, check_once, check_state
from lakehouse.delta.strict_json import document
from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.sql import escaped, literals

pa: Any = lazy.module("pyarrow")
pc: Any = lazy.module("pyarrow.compute")

_OTHERS = ("metaData", "protocol", "txn", "domainMetadata", "sidecar", "checkpointMetadata")
# Fewer files than these (rows of the checkpoint) are held in memory, where a query finds its files
# in a millisecond.
STORED_FROM = 50_000


@dataclasses.dataclass(frozen=True, slots=True)
class Tail:
    """Hold what commits changed: the last word on each file, and the newest other actions.

    ``adds`` are live after the commits, ``removes`` are their tombstones; ``gone`` are the keys
    of both, which an older state must forget. Of very large commits, live plain adds are rows of
    RAW in ``bulk`` instead; None stands for no rows.
    """

    adds: tuple[act.AddFile, ...] = ()
    bulk: pa.Table | None = None
    removes: tuple[act.RemoveFile, ...] = ()
    gone: frozenset[act.FileKey] = frozenset()
    metadata: act.Metadata | None = None
    protocol: act.Protocol | None = None
    transactions: Mapping[str, act.Transaction] = dataclasses.field(default_factory=dict)
    domains: Mapping[str, act.DomainMetadata] = dataclasses.field(default_factory=dict)
    in_commit_timestamp: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Base:
    """Hold the state at a checkpoint.

    ``files`` has the columns of RAW, or is None where there are none; ``stored`` are files that
    were left in the checkpoint.
    """

    files: pa.Table | None
    tail: Tail
    stored: StoredFiles | None = None


def nothing() -> Base:
    """Return the state before the first commit."""
    return Base(None, Tail())


def replay(commits: Iterable[list[act.Action] | Bulk]) -> Tail:
    """Fold commits, oldest first, into their net effect.

    Each commit must have passed `check_commit`.
    """
    files: dict[act.FileKey, act.AddFile | act.RemoveFile] = {}
    metadata: act.Metadata | None = None
    protocol: act.Protocol | None = None
    transactions: dict[str, act.Transaction] = {}
    domains: dict[str, act.DomainMetadata] = {}
    timestamp: int | None = None
    bulk: pa.Table | None = None
    for read in commits:
        commit = read.others if isinstance(read, Bulk) else read
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
        if bulk is not None:
            named = (a.key for a in commit if isinstance(a, act.AddFile | act.RemoveFile))
            bulk = _less(bulk, (file for file, vector in named if not vector))
        if isinstance(read, Bulk):
            older = no_rows() if bulk is None else _less(bulk, read.adds["file"])
            bulk = pa.concat_tables([older, read.adds])
            plain = [file for file, vector in files if not vector]
            again = pc.is_in(texts(plain), value_set=read.adds["file"])
            for file, is_again in zip(plain, again.to_pylist(), strict=True):
                if is_again:
                    del files[(file, "")]
    return Tail(
        adds=tuple(file for file in files.values() if isinstance(file, act.AddFile)),
        removes=tuple(file for file in files.values() if isinstance(file, act.RemoveFile)),
        bulk=bulk,
        gone=frozenset(files),
        metadata=metadata,
        protocol=protocol,
        transactions=MappingProxyType(transactions),
        domains=MappingProxyType(domains),
        in_commit_timestamp=timestamp,
    )


def _less(rows: pa.Table, files: Iterable[str] | pa.ChunkedArray) -> pa.Table:
    names = files if isinstance(files, pa.ChunkedArray) else texts(list(files))
    if not len(names):
        return rows
    hit = pc.is_in(rows["file"], value_set=names)
    return rows.filter(pc.invert(hit)) if pc.any(hit).as_py() else rows


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
            files: pa.Table | None = raw_table(a for a in listed if isinstance(a, act.AddFile))
            urls: list[str] = []
        else:
            urls = _patterns(storage, checkpoint.paths)
            others = _actions(cursor, urls, _OTHERS)
            files = None
        check_state(others, version=checkpoint.version, where=where)
        urls += _patterns(storage, _sidecars(others))
        stored = stored_files(cursor, where, urls, engine) if urls else None
        if stored is not None and stored.rows < STORED_FROM:
            read = stored.raw(frozenset())
            files = read if files is None else pa.concat_tables([files, read])
            stored = None
        # Files that stay in the checkpoint are checked when they are used.
        if files is not None:
            check_files(files, where=where)
            if _repeats(cursor, files):
                check_once(files["file"], where=where)
    return Base(files, replay([[a] for a in others]), stored)


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


def _actions(cursor: Connection, urls: list[str], kinds: tuple[str, ...]) -> list[act.Action]:
    union = ", union_by_name = true" if len(urls) > 1 else ""
    source = f"read_parquet({literals(urls)}{union}, hive_partitioning = false)"
    relation = cursor.sql(f"SELECT * FROM {source}")
    present = [kind for kind in kinds if kind in relation.columns]
    if not present:
        return []
    fields = ", ".join(f"to_json({kind}) AS {kind}" for kind in present)
    where = " OR ".join(f"{kind} IS NOT NULL" for kind in present)
    # Row groups of add actions only, the bulk of a checkpoint, are passed over by this.
    is_struct = "add" in relation.columns and relation.types[relation.columns.index("add")].id
    no_add = " AND add.path IS NULL" if is_struct == "struct" else ""
    rows = cursor.execute(f"SELECT {fields} FROM {source} WHERE ({where}){no_add}").fetchall()
    found: list[act.Action] = []
    for row in rows:
        for kind, text in zip(present, row, strict=True):
            if text is not None and text != "null":
                try:
                    found.append(from_json({kind: document(text.encode())}))
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                    raise CorruptionError(f"the checkpoint's {kind} is damaged: {error}") from error
    return found
