"""SQL in equals Python API out: random tables and changes, made by both, hold the same rows."""

import tempfile
from collections.abc import Sequence
from datetime import date
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lakehouse
from lakehouse.duck.sql import identifier, literal

NAMES = ("a", "B b", "select", 'q"uote', "é.ü", "t", "x;--")
KINDS = {
    "BIGINT": st.integers(-(2**63), 2**63 - 1),
    "VARCHAR": st.text(st.sampled_from("ab'\";-/*\n\\é?$1 "), max_size=6),
    "DATE": st.dates(min_value=date(1900, 1, 1)),
    "BOOLEAN": st.booleans(),
    "DECIMAL(12,3)": st.decimals(-(10**8), 10**8, places=3),
    "DOUBLE": st.floats(allow_nan=False),
    "INTEGER[]": st.lists(st.integers(-9, 9) | st.none(), min_size=1, max_size=3),
}


@st.composite
def tables(draw: Any) -> tuple[dict[str, str], list[list[Any]]]:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    columns = {name: draw(st.sampled_from(tuple(KINDS))) for name in names}
    row = st.tuples(*(KINDS[kind] | st.none() for kind in columns.values())).map(list)
    return columns, draw(st.lists(row, max_size=5))


@given(tables(), st.integers(0, 4), st.booleans())
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
def test_sql_and_python_make_the_same_table(table, split, by_parameters):
    columns, rows = table
    listed = ", ".join(f"{identifier(name)} {kind}" for name, kind in columns.items())
    with tempfile.TemporaryDirectory() as folder, lakehouse.connect(folder, durable=False) as lake:
        by_sql = _table(lake, f"CREATE TABLE silver.by_sql (k BIGINT, {listed})")
        by_python = lake.create_table("silver.by_python", {"k": "BIGINT", **columns})
        numbered = [[number, *row] for number, row in enumerate(rows)]
        for part in (numbered[:split], numbered[split:]):
            if part:
                by_python.append([dict(zip(("k", *columns), row, strict=True)) for row in part])
                _insert(lake, ("k", *columns), part, by_parameters=by_parameters)
        assert _same(lake, by_sql, by_python)
        name, value = next(iter(columns)), rows[0][0] if rows else None
        quoted = identifier(name)
        by_python.delete(f"{quoted} IS NULL AND k > 2")
        lake.sql(f"DELETE FROM silver.by_sql AS d WHERE d.{quoted} IS NULL AND d.k > 2")
        by_python.update({name: lakehouse.lit(value)}, where="k = 1")
        lake.sql(f"UPDATE silver.by_sql SET {quoted} = ? WHERE k = ?", [value, 1])
        assert _same(lake, by_sql, by_python)
        lake.sql(f"CREATE TABLE gold.copy COMMENT {literal(name)} AS SELECT * FROM silver.by_sql")
        assert _same(lake, lake.table("gold.copy"), by_python)
        assert lake.tables(layer="gold")[0].description == name
        lake.sql("CREATE VIEW gold.seen AS FROM gold.copy")
        assert lake.sql("FROM gold.seen ORDER BY k").fetchall() == _rows(by_python)


def _table(lake: lakehouse.Lake, sql: str) -> lakehouse.Table:
    (report,) = lake.sql(sql).to_arrow_table().to_pylist()
    return lake.table(report["name"])


def _insert(
    lake: lakehouse.Lake, names: Sequence[str], rows: list[list[Any]], *, by_parameters: bool
) -> None:
    listed = ", ".join(map(identifier, names))
    marks = ", ".join("(" + ", ".join("?" * len(names)) + ")" for _ in rows)
    values = [value for row in rows for value in row]
    if by_parameters:
        lake.sql(f"INSERT INTO silver.by_sql ({listed}) VALUES {marks}", values)
    else:
        named = {f"p{number}": value for number, value in enumerate(values)}
        places = iter(named)
        rows_sql = ", ".join("(" + ", ".join(f"${next(places)}" for _ in names) + ")" for _ in rows)
        lake.sql(f"INSERT INTO silver.by_sql VALUES {rows_sql}", named)


def _rows(table: lakehouse.Table) -> list[tuple[Any, ...]]:
    return table.read().order("k").fetchall()


def _same(lake: lakehouse.Lake, one: lakehouse.Table, other: lakehouse.Table) -> bool:
    assert one.schema == other.schema
    assert _rows(one) == _rows(other)
    return True
