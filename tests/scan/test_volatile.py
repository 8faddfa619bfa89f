"""Functions that differ from row to row are told from others, most of them without asking."""

import re

from lakehouse.duck.engine import Engine
from lakehouse.scan.volatile import MAY_CHANGE, STEADY, STEADY_MACROS, Volatile


def test_what_is_taken_to_be_steady_is_so_for_duckdb():
    with Engine() as engine, engine.cursor() as cursor:
        others = cursor.execute(
            f"SELECT lower(function_name) FROM duckdb_functions() WHERE {MAY_CHANGE}"
        ).fetchall()
    assert STEADY.isdisjoint(name for (name,) in others)


def test_macros_that_are_taken_to_be_steady_have_no_other_meaning():
    with Engine() as engine, engine.cursor() as cursor:
        found = cursor.execute(
            "SELECT function_name, macro_definition FROM duckdb_functions() "
            "WHERE function_name IN (SELECT unnest(?))",
            [list(STEADY_MACROS)],
        ).fetchall()
        volatile = Volatile(engine)
        for name, definition in found:
            assert definition is None or not volatile(re.findall(r'(\w+)"?\(', definition)), name


def test_duckdb_is_asked_about_others():
    with Engine() as engine:
        volatile = Volatile(engine)
        assert not volatile([])
        assert not volatile(["sum", "year"])
        assert volatile(["sum", "random"])
        assert volatile(["age"])
        assert volatile(["getvariable"])
        for clock in ("now", "today", "current_localtime", "transaction_timestamp"):
            assert volatile([clock])
        # What only the time zone changes, which is an engine's for good.
        assert not volatile(["dayofmonth", "last_day", "time_bucket", "make_timestamptz", "-"])
        assert not volatile(["nullif"])
        assert not volatile(["levenshtein", "no_such_function"])
