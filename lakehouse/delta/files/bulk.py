"""Read commits of very many files with DuckDB: a million lines make no million objects.

Lines that are add actions of the usual form become rows at once; all others are parsed as in any
commit. Where DuckDB cannot read a line, the commit is read the slow way, which names it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from typing import Any

from catalog import lazy
from catalog.errors import LakehouseError
from catalog.storage import Storage
from lakehouse.delta import actions as act
from lakehouse.delta.codec import LARGEST_COMMIT, from_lines
from lakehouse.delta.entries import read_each, read_entries
from lakehouse.delta.files.adds import VECTOR_TYPE, raw_schema
from lakehouse.delta.files.arrays import texts
from lakehouse.delta.log import CommitFile
from lakehouse.delta.soundness import check_commit, check_files, check_once
from lakehouse.duck.engine import Engine
from lakehouse.duck.sql import escaped, literal

pa: Any = lazy.module("pyarrow")
pc: Any = lazy.module("pyarrow.compute")

# From here on DuckDB is quicker than Python's json, in bytes.
BULK_FROM = 1_000_000
_SHAPE = {
    "add": {
        "path": "VARCHAR", "partitionValues": "MAP(VARCHAR, VARCHAR)", "size": "BIGINT",
        "modificationTime": "BIGINT", "dataChange": "BOOLEAN", "stats": "VARCHAR",
    },
}  # fmt: skip
_TYPES = (
    "json_type(json, ['$.add.path', '$.add.partitionValues', '$.add.size', "
    "'$.add.modificationTime']) = ['VARCHAR', 'OBJECT', 'UBIGINT', 'UBIGINT'] "
    "AND coalesce(json_type(json, '$.add.stats') IN ('VARCHAR', 'NULL'), true) "
    "AND coalesce(json_type(json, '$.add.dataChange') = 'BOOLEAN', true)"
)
_TEXT = r'"(?:[^"\\]|\\.)*"'
_VALUE = rf"{_TEXT}:(?:{_TEXT}|null)"
# What delta-rs says of a file for which there is nothing to say.
_NOTHING = "".join(
    rf'(?:,"{field}":null)?'
    for field in (
        "tags", "deletionVector", "baseRowId", "defaultRowCommitVersion", "clusteringProvider"
    )
)  # fmt: skip
# The line of an add action as most writers have it: one look at the text instead of several at
# its JSON.
_USUAL = (
    rf'\{{"add":\{{"path":{_TEXT},"partitionValues":\{{(?:{_VALUE}(?:,{_VALUE})*)?\}},'
    r'"size":[0-9]{1,18},"modificationTime":[0-9]{1,18}(?:,"dataChange":(?:true|false))?'
    rf'(?:,"stats":(?:{_TEXT}|null))?{_NOTHING}\}}\}}'
)


@dataclasses.dataclass(frozen=True, slots=True)
class Bulk:
    """Hold a commit: its plain add actions as rows of RAW, and all other actions.

    ``adds`` have no deletion vectors, and no two of them have one path.
    """

    adds: pa.Table
    others: list[act.Action]


def read_all(
    storage: Storage, entries: Iterable[CommitFile], engine: Engine
) -> Iterator[list[act.Action] | Bulk]:
    """Return each entry of the log: as its actions or, where it is very large, in bulk.

    Small entries begin to come with this call.
    """
    listed = list(entries)
    small = read_each(storage, [entry for entry in listed if entry.size < BULK_FROM])
    return _in_order(storage, listed, small, engine)


def _in_order(
    storage: Storage,
    entries: Iterable[CommitFile],
    small: Iterator[list[list[act.Action]]],
    engine: Engine,
) -> Iterator[list[act.Action] | Bulk]:
    for entry in entries:
        if entry.size < BULK_FROM:
            yield from next(small)
            continue
        many = _try(storage, entry, engine)
        if many is None:
            yield from read_entries(storage, [entry])
        else:
            yield many


def _try(storage: Storage, entry: CommitFile, engine: Engine) -> Bulk | None:
    if entry.size > LARGEST_COMMIT:
        return None
    storage.require_inside([entry.path])
    try:
        return _read(storage, entry, engine)
    except LakehouseError:
        return None


def _read(storage: Storage, entry: CommitFile, engine: Engine) -> Bulk | None:
    fields = ", ".join(literal(name) for name in _SHAPE["add"])
    keys = "json_keys(json, '$.add')"
    plain = (
        f"coalesce(len(json_keys(json)) = 1 AND list_has_all([{fields}], {keys}) "
        f"AND list_unique({keys}) = len({keys}) AND {_TYPES}, false)"
    )
    usual = f"regexp_full_match(json::VARCHAR, {literal(_USUAL)})"
    url = literal(escaped(storage.url(entry.path)))
    with engine.work("read a commit", reading=True) as cursor:
        # Text that does not fit its type is NULL, and NULL is no path, size or time.
        table = cursor.sql(
            "SELECT x.add.path AS path, url_decode(x.add.path) AS file, hash(file) AS hashed, "
            "x.add.partitionValues AS partition_values, x.add.size AS size, "
            "x.add.modificationTime AS modification_time, x.add.stats AS stats, "
            f"NULL::{VECTOR_TYPE} AS deletion_vector, NULL::VARCHAR AS extra, "
            "CASE WHEN x IS NULL THEN json::VARCHAR END AS other FROM (SELECT json, "
            f"CASE WHEN CASE WHEN {usual} THEN true ELSE {plain} END "
            f"THEN from_json(json, {literal(json.dumps(_SHAPE))}) END AS x "
            f"FROM read_ndjson_objects({url}))"
        ).to_arrow_table()
    adds = table.filter(pc.is_null(table["other"]))
    hashed = adds["hashed"]
    adds = adds.drop(["hashed", "other"]).cast(raw_schema())
    rest = "\n".join(table["other"].drop_null().to_pylist())
    others = from_lines(rest.encode(), where=entry.path) if rest else []
    if entry.first is not None:
        # What it may hold of provenance need not be of its newest commit.
        others = [action for action in others if not isinstance(action, act.CommitInfo)]
    check_commit(others, where=entry.path)
    check_files(adds, where=entry.path)
    if adds["partition_values"].null_count:
        return None
    # What a commit may say twice about one file is for the slow way to judge.
    named = [a.key[0] for a in others if isinstance(a, act.AddFile | act.RemoveFile)]
    if len(pc.unique(hashed)) < len(hashed):  # or two names have one hash
        check_once(adds["file"], where=entry.path)
    if pc.any(pc.is_in(adds["file"], value_set=texts(named))).as_py():
        return None
    return Bulk(adds, others)
