"""Read commits of very many files with DuckDB: a million lines make no million objects.

Lines that are add actions of the usual form become rows at once; all others are parsed as in any
commit. Where DuckDB cannot read a line, the commit is read the slow way, which names it.
"""

from __future__ import annotations

import dataclasses
import json

import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import LakehouseError
from catalog.storage import Storage
from lakehouse.delta import actions as act
from lakehouse.delta.adds import RAW
from lakehouse.delta.codec import from_lines
from lakehouse.delta.log import CommitFile
from lakehouse.duck.engine import Engine
from lakehouse.duck.sql import literal

# From here on DuckDB is quicker than Python's json, in bytes.
BULK_FROM = 1_000_000
_SHAPE = {
    "add": {
        "path": "VARCHAR", "partitionValues": "MAP(VARCHAR, VARCHAR)", "size": "BIGINT",
        "modificationTime": "BIGINT", "dataChange": "BOOLEAN", "stats": "VARCHAR",
    },
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Bulk:
    """Hold a commit: its plain add actions as rows of RAW, and all other actions.

    ``adds`` have no deletion vectors, and no two of them have one path.
    """

    adds: pa.Table
    others: list[act.Action]


def read_bulk(storage: Storage, commit: CommitFile, engine: Engine) -> Bulk | None:
    """Read a commit that is large; None for any that should be read line by line."""
    if commit.size < BULK_FROM:
        return None
    try:
        return _read(storage, commit, engine)
    except LakehouseError:
        return None


def _read(storage: Storage, commit: CommitFile, engine: Engine) -> Bulk | None:
    fields = ", ".join(literal(name) for name in _SHAPE["add"])
    plain = (
        "coalesce(len(json_keys(json)) = 1 AND list_has_all("
        f"[{fields}], json_keys(json, '$.add')), false)"
    )
    with engine.work("read a commit", reading=True) as cursor:
        # Text that does not fit its type is NULL, and NULL is no path, size or time.
        table = cursor.sql(
            "SELECT x.add.path AS path, url_decode(x.add.path) AS file, "
            "x.add.partitionValues AS partition_values, x.add.size AS size, "
            "x.add.modificationTime AS modification_time, x.add.stats AS stats, "
            "NULL AS deletion_vector, NULL AS extra, other FROM (SELECT "
            f"CASE WHEN {plain} THEN from_json(json, {literal(json.dumps(_SHAPE))}) END AS x, "
            f"CASE WHEN NOT {plain} THEN json::VARCHAR END AS other "
            f"FROM read_ndjson_objects({literal(storage.url(commit.path))}))"
        ).to_arrow_table()
    is_add = pc.is_null(table["other"])
    rest = table["other"].drop_null().to_pylist()
    adds = table.filter(is_add).drop(["other"]).cast(RAW)
    others = from_lines("\n".join(rest).encode(), where=commit.path)
    unknown = sum(
        adds[name].null_count for name in ("path", "partition_values", "size", "modification_time")
    )
    if unknown or pc.count_distinct(adds["file"]).as_py() != adds.num_rows:
        return None
    # What a commit may say twice about one file is for the slow way to judge.
    keys = [a.key[0] for a in others if isinstance(a, act.AddFile | act.RemoveFile)]
    if pc.any(pc.is_in(adds["file"], value_set=pa.array(keys, pa.string()))).as_py():
        return None
    return Bulk(adds, others)
