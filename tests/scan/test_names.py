"""Tables and time travel are found in a query's text, and nothing else of it is touched."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from lakehouse.scan.names import At, references

TABLES = {("bronze", "t"), ("bronze", "a b"), ("silver", "select")}


def resolve(layer, table):
    pair = layer.lower(), table.lower()
    return pair if pair in TABLES else None


def found(sql):
    text, refs, _ = references(sql, resolve)
    return text, [(f"{ref.layer}.{ref.table}", ref.at) for ref in refs]


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT * FROM bronze.t", ["bronze.t"]),
        ("bronze.t", ["bronze.t"]),
        ("FROM BRONZE.T", ["bronze.t"]),
        ('FROM "bronze"."t"', ["bronze.t"]),
        ('FROM bronze."a b"', ["bronze.a b"]),
        ("FROM silver.select", ["silver.select"]),
        ("FROM bronze . t", ["bronze.t"]),
        ("FROM bronze./* x */t", ["bronze.t"]),
        ("SELECT bronze.t.x FROM bronze.t", ["bronze.t"]),
        ("FROM bronze.t JOIN silver.select USING (x)", ["bronze.t", "silver.select"]),
        ("WITH bronze AS (SELECT 1) FROM bronze.t", ["bronze.t"]),
        ("FROM other.bronze.t", []),
        ("SELECT 'bronze.t'", []),
        ("SELECT 1 -- bronze.t", []),
        ("SELECT /* bronze.t AT (VERSION => 1) */ 1", []),
        ("SELECT $$ bronze.t $$", []),
        ("SELECT $x$ bronze.t $x$", []),
        ("SELECT 'it''s bronze.t'", []),
        ('SELECT "bronze.t"', []),
        ("SELECT 1.5, t.x FROM bronze.u AS t", []),
        ("", []),
    ],
)
def test_names(sql, names):
    text, refs = found(sql)
    assert text == sql
    assert [name for name, _ in refs] == names
    assert all(at is None for _, at in refs)


@pytest.mark.parametrize(
    ("sql", "after", "at"),
    [
        ("FROM bronze.t AT (VERSION => 3)", 'FROM "bronze"."t@0" AS "t"', At("version", "3")),
        ("FROM bronze.t at(version=>3)", 'FROM "bronze"."t@0" AS "t"', At("version", "3")),
        (
            "FROM bronze.t AS x AT (VERSION => 3) WHERE x.a",
            'FROM "bronze"."t@0" AS "x" WHERE x.a',
            At("version", "3"),
        ),
        (
            "FROM bronze.t AT (VERSION => 3) AS x, y",
            'FROM "bronze"."t@0" AS "x", y',
            At("version", "3"),
        ),
        (
            "FROM bronze.t AT (VERSION => 3) x JOIN y",
            'FROM "bronze"."t@0" AS "x" JOIN y',
            At("version", "3"),
        ),
        (
            'FROM bronze.t AT (VERSION => 3) "where" WHERE 1',
            'FROM "bronze"."t@0" AS "where" WHERE 1',
            At("version", "3"),
        ),
        (
            "FROM bronze.t AT (VERSION => 3) WHERE 1",
            'FROM "bronze"."t@0" AS "t" WHERE 1',
            At("version", "3"),
        ),
        (
            "FROM bronze.t AT (TIMESTAMP => now() - INTERVAL (1) day) ORDER BY 1",
            'FROM "bronze"."t@0" AS "t" ORDER BY 1',
            At("timestamp", "now() - INTERVAL (1) day"),
        ),
        (
            "SELECT '😀 é' FROM bronze.t AT (TIMESTAMP => '2024-01-31 12:00') -- bronze.t",
            'SELECT \'😀 é\' FROM "bronze"."t@0" AS "t" -- bronze.t',
            At("timestamp", "'2024-01-31 12:00'"),
        ),
        (
            "FROM bronze.t AT (VERSION => $v)",
            'FROM "bronze"."t@0" AS "t"',
            At("version", "$v"),
        ),
    ],
)
def test_time_travel(sql, after, at):
    text, refs = found(sql)
    assert text == after
    assert refs == [("bronze.t", at)]


def test_one_view_for_each_state():
    sql = (
        "FROM bronze.t, bronze.t AT (VERSION => 1) a, bronze.t AT (VERSION => 2) b, "
        "bronze.t AT (VERSION => 1) c"
    )
    text, refs, _ = references(sql, resolve)
    assert len(refs) == 3
    assert len({ref.view for ref in refs}) == 3
    first = next(ref.view for ref in refs if ref.at == At("version", "1"))
    assert text.count(first) == 2


@pytest.mark.parametrize(
    "sql", ["FROM bronze.t AT (VERSIO => 1)", "SELECT 'open FROM bronze.t", "FROM bronze.t AT ("]
)
def test_what_cannot_be_read_is_an_input_error_or_left_to_duckdb(sql):
    with contextlib.suppress(lakehouse.InputError):
        text, _, _ = references(sql, resolve)
        assert text == sql


@given(st.text())
def test_any_text_is_left_alone_or_refused(text):
    try:
        after, refs, _ = references(text, resolve)
    except ValueError:
        return
    if not refs:
        assert after == text


@given(st.text(st.characters(exclude_characters="'\\$", codec="utf-8"), max_size=20))
def test_texts_around_time_travel_keep_their_place(text):
    """Positions are counted alike by the tokenizer and by us, whatever the characters."""
    sql = f"SELECT '{text}' FROM bronze.t AT (VERSION => 7) WHERE x = '{text}'"
    after, refs = found(sql)
    assert after == f'SELECT \'{text}\' FROM "bronze"."t@0" AS "t" WHERE x = \'{text}\''
    assert refs == [("bronze.t", At("version", "7"))]
