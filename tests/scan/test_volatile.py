"""Functions that differ from row to row are told from others, most of them without asking."""

from lakehouse.duck.engine import Engine
from lakehouse.scan.volatile import STEADY, Volatile

LISTED = "SELECT DISTINCT lower(function_name) FROM duckdb_functions() "


def test_what_is_taken_to_be_steady_is_so_for_duckdb():
    with Engine() as engine, engine.cursor() as cursor:
        stable = "coalesce(stability, '') = 'CONSISTENT'"
        others = cursor.execute(f"{LISTED} WHERE NOT {stable}").fetchall()
    assert STEADY.isdisjoint(name for (name,) in others)


def test_duckdb_is_asked_about_others():
    with Engine() as engine:
        volatile = Volatile(engine)
        assert not volatile([])
        assert not volatile(["sum", "year"])
        assert volatile(["sum", "random"])
        assert not volatile(["levenshtein", "no_such_function"])
