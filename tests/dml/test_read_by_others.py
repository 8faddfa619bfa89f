"""Tables that we merge into stay right for deltalake, Polars and DuckDB's delta extension, too."""

from collections import Counter

import pyarrow as pa
import pytest

import lakehouse
from lakehouse.delta import vector_files
from tests.types.engines import (
    PEERS,
    comparable,
    delta_extension,
    new_table,
    ours,
    with_delta_extension,
)

SCHEMA = {"id": "BIGINT", "p": "VARCHAR", "n": "INTEGER", "t": "VARCHAR"}
FEED = {"delta.enableChangeDataFeed": "true"}
PROPERTIES = {
    "copies": {},
    "vectors": {"delta.enableDeletionVectors": "true"},
    "feed": FEED,
    "vectors and feed": FEED | {"delta.enableDeletionVectors": "true"},
}
COLUMNS = ["id", "p", "n", "t"]


def row(id_, n=0, p=None):
    return {"id": id_, "p": p or "ab"[id_ % 2], "n": n, "t": f"text {id_}"}


def place(table):
    # delta-rs looks for change files in folders whose names it forgets to decode.
    return "c" if FEED.keys() & table.properties.keys() else "c d/é"


STEPS = {
    "upsert": lambda t: t.upsert([row(i, 1) for i in (3, 40, 80, 200, 201)], key=["id", "p"]),
    "merge": lambda t: (
        t.merge([row(i, 2) for i in range(50, 62)], on="t.id = s.id")
        .when_matched_delete(condition="s.id % 3 = 0")
        .when_matched_update({"n": "t.n + s.n"})
        .when_not_matched_insert()
        .when_not_matched_by_source_update({"t": "upper(t)"}, condition="t.id BETWEEN 70 AND 75")
        .when_not_matched_by_source_delete(condition="t.id = 1")
        .run()
    ),
    "again": lambda t: t.upsert([row(i, 3) for i in range(20, 90, 7)], key=["id", "p"]),
    "update": lambda t: t.update({"n": "n + 10"}, where="id % 9 = 4"),
    "move": lambda t: t.update({"p": lakehouse.lit(place(t))}, where="id BETWEEN 10 AND 12"),
    "delete": lambda t: t.delete("id % 10 = 7"),
    "twice": lambda t: t.append([row(5, 7), row(5, 8)]),
    "deduplicate": lambda t: t.deduplicate(key="id", keep="latest by n"),
    "partition": lambda t: t.delete("p = 'b'"),
}


@pytest.mark.parametrize("partition_by", [(), ("p",)], ids=["plain", "partitioned"])
@pytest.mark.parametrize("kind", PROPERTIES)
def test_rows_and_feed_of_a_table_that_was_merged_into(lake, kind, partition_by, monkeypatch):
    if partition_by:
        monkeypatch.setattr(vector_files, "_INLINE", 0)  # vectors stand in files of their own
    table = new_table(lake, SCHEMA, partition_by=partition_by, properties=PROPERTIES[kind])
    for start in (0, 50):
        table.append(pa.Table.from_pylist([row(i) for i in range(start, start + 50)], table.schema))
    versions = {table.version: rows_of(table)}
    for name, step in STEPS.items():
        before = table.version
        report = step(table)
        assert table.version == report.version == before + 1, name
        versions[table.version] = rows_of(table)
    files = table.snapshot().files.adds()
    assert any(add.deletion_vector for add in files) == ("vectors" in kind)

    check_rows(table, versions)
    if "feed" in kind:
        check_feed(table, versions)
    table.checkpoint()
    check_rows(table, {table.version: versions[table.version]})


def rows_of(table):
    return Counter(table.read().select(*COLUMNS).fetchall())


def check_rows(table, versions):
    expected = comparable(ours(table))
    for read in PEERS.values():
        assert comparable(read(table).select(COLUMNS)) == expected
    if delta_extension() is not None:
        with with_delta_extension() as connection:
            for version, rows in versions.items():
                scan = f"delta_scan('{table.uri}', version => {version})"
                found = connection.sql(f"SELECT {', '.join(COLUMNS)} FROM {scan}").fetchall()
                assert Counter(found) == rows


def check_feed(table, versions):
    """Compare the feed, as delta-rs and we read it, with the difference of the versions."""
    first = min(versions) + 1
    feed = pa.table(table.to_deltalake().load_cdf(starting_version=first).read_all()).to_pylist()
    own = table.changes(since=first).to_arrow_table().to_pylist()
    for version in range(first, max(versions) + 1):
        came, gone = told(feed, version)
        before, after = versions[version - 1], versions[version]
        assert (came - gone, gone - came) == (after - before, before - after)
        assert (came, gone) == told(own, version)


def told(feed, version):
    """Return the rows that came in a version, and those that went, as a feed has them."""
    came: Counter[tuple[object, ...]] = Counter()
    gone: Counter[tuple[object, ...]] = Counter()
    for change in feed:
        if change["_commit_version"] == version:
            kind = change["_change_type"]
            side = came if kind in ("insert", "update_postimage") else gone
            side[tuple(change[name] for name in COLUMNS)] += 1
    return came, gone
