"""Queries between changes of tables, views and temporary tables give what plain DuckDB gives.

The same texts are run again after what they read was changed, replaced or dropped: what was
remembered of them must not be.
"""

import datetime as dt
import tempfile
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

import lakehouse
from lakehouse.duck.sql import literal
from lakehouse.scan import probe
from tests.types.engines import comparable, effort

COLUMNS = {"b": "INTEGER", "k": "BIGINT", "g": "INTEGER", "s": "VARCHAR", "d": "DATE"}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "b": st.integers(0, 45),
    "k": st.none() | st.integers(0, 80) | st.sampled_from([2**53 + 1, -(2**62)]),
    "g": st.none() | st.integers(0, 9),
    "s": st.none() | st.sampled_from(["", "a", "ab", "it's", "é", "z" * 40, "3"]),
    "d": st.none() | st.dates(dt.date(2024, 1, 1), dt.date(2024, 2, 9)),
}
ROWS = {"big": 60, "mid": 30, "small": 8}
PARTS = {"big": ["b"], "mid": ["g"], "small": []}
CHANGES = (
    "delete", "update", "insert", "merge", "add", "rename", "keep", "again", "view", "temp",
)  # fmt: skip
WAYS = ("", "DESC", "DESC NULLS LAST", "NULLS FIRST", "ASC NULLS LAST")
JOINS = ("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
# Of sources <A>, <B>, conditions <a> and <b> on them, orders, joins, and numbers.
SHAPES = (
    "SELECT a.*, b.k AS bk FROM <A> AS a {join} <B> AS b ON a.k = b.k",
    "SELECT a.*, b.g AS bg FROM <A> AS a {join} <B> AS b ON a.k = b.k AND <b> WHERE <a>",
    "SELECT a.* FROM <A> AS a {join} <B> AS b ON a.g = b.g AND a.k > b.k WHERE <b>",
    "SELECT a.* FROM <A> AS a SEMI JOIN <B> AS b ON a.k = b.k WHERE <a>",
    "SELECT a.* FROM <A> AS a ANTI JOIN <B> AS b ON a.k = b.k WHERE <a>",
    "SELECT * FROM <A> AS a WHERE a.k IN (SELECT k FROM <B> AS b WHERE <b>) OR <a>",
    "SELECT * FROM <A> AS a WHERE a.k NOT IN (SELECT k FROM <B> AS b WHERE <b>)",
    "SELECT * FROM <A> AS a WHERE NOT EXISTS (FROM <B> AS b WHERE b.k = a.k AND <b>)",
    "SELECT a.k, (SELECT count(*) FROM <B> AS b WHERE b.k = a.k) AS n FROM <A> AS a",
    "SELECT a.k, l.* FROM <A> AS a, LATERAL (SELECT max(g) FROM <B> AS b WHERE b.k = a.k) AS l",
    "SELECT * FROM <A> AS a WHERE k >= (SELECT max(k) FROM <B> AS b WHERE <b>)",
    "SELECT k, g FROM <A> AS a WHERE <a> ORDER BY k {way}, g {way} LIMIT {n} OFFSET {m}",
    "SELECT a.k FROM <A> AS a ORDER BY a.k {way} LIMIT {n}",
    "SELECT DISTINCT g FROM <A> AS a WHERE <a> ORDER BY g {way} LIMIT {n}",
    "SELECT k, g, rank() OVER (PARTITION BY g ORDER BY k) FROM <A> AS a WHERE <a>",
    "SELECT k, g FROM <A> AS a QUALIFY rank() OVER (PARTITION BY g ORDER BY k DESC) < 3",
    "SELECT count(*), min(k), max(k), max(g) FROM <A>",
    "SELECT g, count(*), max(k) FROM <A> AS a WHERE <a> GROUP BY g",
    "SELECT a.* FROM <A> AS a JOIN (SELECT k, g FROM <B> ORDER BY k {way}, g LIMIT {n}) AS b USING (k)",
    "SELECT a.* FROM (SELECT k, g FROM <A> ORDER BY k {way}, g LIMIT {n}) AS a JOIN <B> AS b USING (k)",
    "WITH c AS MATERIALIZED (FROM <B> AS b WHERE <b>) SELECT a.k FROM <A> AS a SEMI JOIN c USING (k) UNION ALL SELECT k FROM c",
    "SELECT k FROM (SELECT k FROM <A> UNION ALL SELECT k FROM <B>) ORDER BY k {way} LIMIT {n}",
    "SELECT k, g FROM <A> AS a WHERE <a> EXCEPT SELECT k, g FROM <B> AS b WHERE <b>",
    "WITH RECURSIVE w(k, n) AS (SELECT k, 0 FROM <A> AS a WHERE <a> UNION SELECT b.k, n + 1 FROM w JOIN <B> AS b ON b.k = w.k + 1 WHERE n < 3) FROM w",
    "SELECT a.k FROM <A> AS a JOIN <B> AS b ON a.k = b.k JOIN <A> AS c ON c.g = b.g",
    "SELECT * FROM <A> AS a WHERE k = (SELECT max(k) FROM <A> AS i WHERE i.g = a.g)",
)  # fmt: skip
VIEWS = (
    "SELECT k, g FROM <A> AS a WHERE <a>",
    "SELECT a.k, b.g FROM <A> AS a JOIN <B> AS b ON a.k = b.k",
    "SELECT k, g FROM <A> AS a WHERE <a> AND now() > TIMESTAMPTZ '2000-01-01'",
    "SELECT k, g FROM <A> WHERE random() < 2",
    "SELECT k, g FROM <A> ORDER BY k DESC NULLS LAST, g LIMIT 5",
)


@dataclass
class World:
    """Hold a lake, a plain DuckDB of the same rows, and what their tables are."""

    data: Any
    lake: lakehouse.Lake
    plain: duckdb.DuckDBPyConnection
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    kept: list[tuple[str, int]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def draw(self, strategy: st.SearchStrategy[Any]) -> Any:
        return self.data.draw(strategy)

    def both(self, sql: str) -> None:
        note(sql)
        self.lake.sql(sql)
        self.plain.execute(sql)

    def create(self, name: str) -> None:
        self.columns[name] = dict(COLUMNS)
        properties = {
            "delta.enableDeletionVectors": str(self.draw(st.booleans())).lower(),
            "delta.columnMapping.mode": "name",
        }
        self.lake.create_table(
            f"silver.{name}", COLUMNS, partition_by=PARTS[name], properties=properties
        )
        listed = ", ".join(f"{column} {kind}" for column, kind in COLUMNS.items())
        self.plain.execute(f"CREATE TABLE silver.{name} ({listed})")
        self.insert(name, ROWS[name])

    def insert(self, name: str, count: int) -> None:
        # Most keys stand near each other, so that statistics tell files apart.
        rows: list[dict[str, Any]] = [
            {"b": n % 40, "k": n % 40 * 2, "g": n % 9, "s": "a", "d": None} for n in range(count)
        ]
        for _ in range(self.draw(st.integers(0, min(count, 8)))):
            row, column = self.draw(st.sampled_from(rows)), self.draw(st.sampled_from("kgsd"))
            row[column] = self.draw(VALUES[column])
        listed = [[literal_of(row[column]) for column in COLUMNS] for row in rows]
        values = ", ".join(f"({', '.join(row)})" for row in listed)
        columns = [c for c in self.columns[name] if c in COLUMNS]
        chosen = ", ".join(f"v.{column}" for column in columns)
        self.both(
            f"INSERT INTO silver.{name} ({', '.join(columns)}) "
            f"SELECT {chosen} FROM (VALUES {values}) AS v({', '.join(COLUMNS)})"
        )

    def source(self) -> tuple[str, str]:
        """Return something to read, as the lake and plain DuckDB call it."""
        if self.kept and self.draw(st.integers(0, 4)) == 0:
            name, version = self.draw(st.sampled_from(self.kept))
            return f"silver.{name} AT (VERSION => {version})", f'silver."{name}@{version}"'
        name = self.draw(st.sampled_from([*(f"silver.{t}" for t in ROWS), *self.others]))
        return name, name

    def condition(self, alias: str) -> str:
        column = self.draw(st.sampled_from("kg"))
        value = literal_of(self.draw(VALUES["b"]))
        other = self.draw(st.integers(0, 9))
        form = self.draw(
            st.sampled_from(
                [
                    "{c} = {v}", "{c} > {v}", "{c} <= {v}", "{c} <> {v}", "{c} IS NULL",
                    "({c} IS NULL OR {a}.g = {o})", "{c} IN ({v}, {o})", "{c} % 3 = {o} % 3",
                    "({c} < {v} AND {a}.g >= {o})", "coalesce({c}, {v}) = {v}",
                ]
            )
        )  # fmt: skip
        return form.format(c=f"{alias}.{column}", v=value, o=other, a=alias)

    def filled(self, shape: str) -> tuple[str, str]:
        """Return a query as the lake and as plain DuckDB say it."""
        a, b = self.source(), self.source()
        shape = shape.replace("<a>", self.condition("a")).replace("<b>", self.condition("b"))
        join, way = self.draw(st.sampled_from(JOINS)), self.draw(st.sampled_from(WAYS))
        n, m = self.draw(st.integers(0, 6)), self.draw(st.integers(0, 4))
        shape = shape.format(join=join, way=way, n=n, m=m)
        first, second = (
            shape.replace("<A>", ours).replace("<B>", theirs)
            for ours, theirs in zip(a, b, strict=True)
        )
        return first, second

    def change(self) -> None:
        name = self.draw(st.sampled_from([*ROWS]))
        table, columns = f"silver.{name}", self.columns[name]
        match self.draw(st.sampled_from(CHANGES)):
            case "delete":
                self.both(f"DELETE FROM {table} AS a WHERE {self.condition('a')}")
            case "update":
                self.both(
                    f"UPDATE {table} AS a SET k = {self.draw(VALUES['b'])} WHERE {self.condition('a')}"
                )
            case "insert":
                self.insert(name, self.draw(st.integers(1, 4)))
            case "merge" if name != "small":
                self.both(
                    f"MERGE INTO {table} AS t USING (SELECT k, max(g) AS g FROM silver.small "
                    "WHERE k IS NOT NULL GROUP BY k) AS o ON t.k = o.k WHEN MATCHED AND t.g > 4 "
                    "THEN DELETE WHEN MATCHED THEN UPDATE SET k = o.g::BIGINT "
                    "WHEN NOT MATCHED THEN INSERT (k) VALUES (o.k)"
                )
            case "add" if len(columns) < 8:
                self.both(f"ALTER TABLE {table} ADD COLUMN x{len(columns)} INTEGER")
                columns[f"x{len(columns)}"] = "INTEGER"
            case "rename" if "s" in columns:
                self.both(f"ALTER TABLE {table} RENAME COLUMN s TO renamed")
                del columns["s"]
                columns["renamed"] = "VARCHAR"
            case "keep":
                version = self.lake.table(table).version
                if (name, version) not in self.kept:
                    self.kept.append((name, version))
                    self.plain.execute(f'CREATE TABLE silver."{name}@{version}" AS FROM {table}')
            case "view":
                ours, theirs = self.filled(self.draw(st.sampled_from(VIEWS)))
                note(ours)
                if "gold.v" not in ours and "few" not in ours:
                    self.lake.sql(f"CREATE OR REPLACE VIEW gold.v AS {ours}")
                    self.plain.execute(f"CREATE OR REPLACE VIEW gold.v AS {theirs}")
                    self.others = sorted({*self.others, "gold.v"})
            case "temp":
                low, step = self.draw(st.integers(0, 60)), self.draw(st.integers(1, 4))
                self.both(
                    "CREATE OR REPLACE TEMP TABLE few AS SELECT i::BIGINT AS k, "
                    f"(i % 7)::INTEGER AS g FROM range({low}, {low + 9}, {step}) AS r(i)"
                )
                self.others = sorted({*self.others, "few"})
            case "again" if not any(kept == name for kept, _ in self.kept):
                self.lake.sql(f"DROP TABLE {table} CASCADE")
                self.plain.execute(f"DROP TABLE {table}")
                if "gold.v" in self.others and not self.lake.views():
                    self.plain.execute("DROP VIEW gold.v")
                    self.others.remove("gold.v")
                self.create(name)


def literal_of(value: Any) -> str:
    if value is None or isinstance(value, int):
        return "NULL" if value is None else str(value)
    return f"DATE '{value}'" if isinstance(value, dt.date) else literal(value)


@effort(0.04)
@given(data=st.data())
def test_queries_between_changes(data):
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory() as folder,
        lakehouse.connect(folder, durable=False) as lake,
        duckdb.connect() as plain,
    ):
        patch.setattr(probe, "_SECONDS", 100)  # as long as it takes on a busy machine
        plain.execute("SET disabled_optimizers = 'join_filter_pushdown'")  # duckdb#22924
        plain.execute("CREATE SCHEMA silver")
        plain.execute("CREATE SCHEMA gold")
        world = World(data, lake, plain)
        for name in ROWS:
            world.create(name)
        asked: list[tuple[str, str]] = []
        for _ in range(8):
            world.change()
            asked.append(world.filled(data.draw(st.sampled_from(SHAPES))))
            again = data.draw(st.sampled_from(asked))
            if any("gold.v" in ours and "gold.v" not in world.others for ours, _ in (again,)):
                continue
            for ours, theirs in (asked[-1], again):
                note(ours)
                expected = comparable(plain.sql(theirs).to_arrow_table())
                assert comparable(lake.sql(ours).to_arrow_table()) == expected
