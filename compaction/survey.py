"""Look at a table, and tell the planner what is there."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable
from typing import Any

from compaction.facts import Cluster, FileFacts, Partition, TableFacts
from compaction.policy import Policy
from compaction.room import largest
from lakehouse import Lake, Table, UnsupportedError
from lakehouse.delta.cadence import lag_of
from lakehouse.delta.log import list_from, read_hint
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Engine
from lakehouse.table.copying import CLUSTER_ID, CLUSTER_KEY, leaves_of, resolved
from lakehouse.table.vacuuming import Sweep

_SMALL_OR_DELETED = "size < {small} OR deletion_vector IS NOT NULL"


@dataclasses.dataclass(frozen=True, slots=True)
class Surveyed:
    """Hold the facts of a table at a snapshot, the policy for it, and the files that nothing needs."""

    table: Table
    snapshot: Snapshot
    policy: Policy
    facts: TableFacts
    unneeded: Sweep | None = None


def survey(
    table: Table, *, policy: Policy | None = None, only: frozenset[str] | None = None
) -> Surveyed:
    """Return the facts of a table as it is now.

    Of a large table that is not clustered, only the files that are small or have deleted rows are
    looked at one by one. ``only`` are the paths of those that a plan may be about.
    """
    snapshot = table.snapshot()
    layer = table.name.partition(".")[0]
    found = policy or Policy.of(snapshot.properties, layer=layer)
    clustering = found.clustering
    if clustering is not None:
        clustering = resolved(clustering, snapshot)
        found = dataclasses.replace(found, cluster_by=clustering.columns)
    engine = table.rewriter().engine
    most = largest(found.group_bytes, engine.spill_room)
    found = dataclasses.replace(found, group_bytes=most)
    newest, count, size = _partitions(snapshot, engine)
    files = [*_files(snapshot, found, engine, found.small(size))]
    entries, expired = (0, 0) if only is not None else _expired(table)
    unneeded = None if only is not None else _unneeded(table)
    facts = TableFacts(
        name=table.name,
        version=snapshot.version,
        now=time.time(),
        files=tuple(f for f in files if only is None or f.path in only),
        all_files=count,
        all_bytes=size,
        newest=newest,
        commits_since_checkpoint=_lag(snapshot),
        expired_entries=entries,
        expired_bytes=expired,
        dead_files=0 if unneeded is None else len(unneeded.gone),
        dead_bytes=0 if unneeded is None else unneeded.bytes,
    )
    return Surveyed(table, snapshot, found, facts, unneeded)


def tables_of(lake: Lake, names: Iterable[str] | None) -> list[Table]:
    """Return the tables with these names; all of the lake without."""
    wanted = [info.name for info in lake.tables()] if names is None else names
    return [lake.table(name) for name in wanted]


def _expired(table: Table) -> tuple[int, int]:
    try:
        report = table.expire_log(dry_run=True)
    except UnsupportedError:
        return 0, 0  # the table keeps its log whole
    return report.files, report.bytes


def _unneeded(table: Table) -> Sweep | None:
    try:
        return table.plan_vacuum()
    except UnsupportedError:
        return None  # nobody but the engine that made it may clean it up


def _lag(snapshot: Snapshot) -> int:
    objects = [*list_from(snapshot.storage, read_hint(snapshot.storage) or 0)]
    return lag_of(objects, snapshot.version).commits


def _partitions(snapshot: Snapshot, engine: Engine) -> tuple[dict[Partition, float], int, int]:
    """Return the time of each partition's newest file, and the table's files and bytes."""
    parts = _part_columns(snapshot)
    sql = (
        f"SELECT [{', '.join(parts)}]::VARCHAR[], max(modification_time) / 1000, count(*), "
        f"sum(size)::BIGINT FROM {{}} GROUP BY ALL"
    )
    rows = _ask(snapshot, engine, sql)
    newest = {tuple(values): at for values, at, _, _ in rows}
    return newest, sum(row[2] for row in rows), sum(row[3] for row in rows)


def _files(snapshot: Snapshot, policy: Policy, engine: Engine, small: int) -> Iterable[FileFacts]:
    by_name = {leaf.path[0].name: leaf.ordinal for leaf in leaves_of(snapshot)}
    ordinals = [by_name[name] for name in policy.cluster_by]
    bounds = [f"{side}{ordinal}" for ordinal in ordinals for side in ("min", "max")]
    where = "true" if ordinals else _SMALL_OR_DELETED.format(small=small)
    selected = ", ".join(
        [
            "file",
            "size",
            "rows",
            "coalesce(deletion_vector.cardinality, 0)",
            f"[{', '.join(_part_columns(snapshot))}]::VARCHAR[]",
            *bounds,
        ]
    )
    clusters = _clusters(snapshot) if ordinals else {}
    sql = f"SELECT {selected} FROM {{}} WHERE {where} ORDER BY position"
    for file, size, rows, deleted, values, *box in _ask(snapshot, engine, sql):
        yield FileFacts(
            path=file,
            size=size,
            rows=rows,
            deleted=deleted,
            partition=tuple(values),
            box=tuple(zip(box[::2], box[1::2], strict=True)),
            cluster=clusters.get(file),
        )


def _part_columns(snapshot: Snapshot) -> list[str]:
    return [f"p{i}::VARCHAR" for i in range(len(snapshot.files.layout.partitions))]


def _clusters(snapshot: Snapshot) -> dict[str, Cluster]:
    """Return which sort wrote each file, where it tells."""
    if not snapshot.files.has_extra:
        return {}
    found = {}
    for row in snapshot.files.raw.select(["file", "extra"]).to_pylist():
        tags = json.loads(row["extra"] or "{}").get("tags") or {}
        if CLUSTER_ID in tags and CLUSTER_KEY in tags:
            found[row["file"]] = Cluster(tags[CLUSTER_ID], tags[CLUSTER_KEY])
    return found


def _ask(snapshot: Snapshot, engine: Engine, sql: str) -> list[Any]:
    if snapshot.files.is_empty:
        return []
    with engine.work("look at the table's files", reading=True) as cursor:
        with snapshot.files.on(cursor, engine) as index:
            return cursor.execute(sql.format(index)).fetchall()
