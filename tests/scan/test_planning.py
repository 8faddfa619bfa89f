"""Queries are planned side by side: what one sets to plan does not change the plans of others."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from lakehouse.duck.engine import Engine
from tests.types.engines import new_table

OFF, MOST = "disabled_optimizers", "dynamic_or_filter_threshold"


def test_settings_last_as_long_as_somebody_needs_them():
    config: dict[str, str | int | float | bool] = {OFF: "join_order", MOST: 7}
    with Engine(config) as engine, engine.work("look") as cursor:

        def settings():
            ((off, most),) = cursor.execute(
                f"SELECT current_setting('{OFF}'), current_setting('{MOST}')"
            ).fetchall()
            return set(off.split(",")), most

        first, second = (
            engine.planning(off=("filter_pullup",), most=90),
            engine.planning(off=("limit_pushdown",)),
        )
        first.__enter__()
        assert settings() == ({"join_order", "filter_pullup"}, 90)
        second.__enter__()
        assert settings() == ({"join_order", "filter_pullup", "limit_pushdown"}, 90)
        first.__exit__(None, None, None)
        assert settings() == ({"join_order", "limit_pushdown"}, 7)
        with pytest.raises(ZeroDivisionError), engine.planning(off=("limit_pushdown",)):
            raise ZeroDivisionError
        assert settings() == ({"join_order", "limit_pushdown"}, 7)
        second.__exit__(None, None, None)
        assert settings() == ({"join_order"}, 7)


def test_threads_plan_side_by_side(lake):
    table = new_table(lake, {"k": "BIGINT", "g": "INTEGER"}, partition_by="g")
    table.append([{"k": None if g % 2 else g, "g": g} for g in range(16)])

    def count(number):
        # With its statistics, an empty table has no NULL: that would leave g alone to choose files.
        g = number % 16
        where = f"(k IS NULL OR g = {g}) AND {number} >= 0"
        return lake.sql(f"SELECT count(*) FROM {table.name} WHERE {where}").fetchall()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(count, range(160)))
    assert found == [[(8 + (n % 2 == 0),)] for n in range(160)]


def test_a_probe_that_fails_leaves_the_error_to_the_query(lake):
    many = new_table(lake, {"k": "BIGINT", "b": "INTEGER"}, partition_by="b")
    many.append([{"k": n, "b": n} for n in range(40)])
    few = new_table(lake, {"k": "BIGINT", "s": "VARCHAR"})
    few.append([{"k": 1, "s": "1"}, {"k": 2, "s": "two"}])
    where = "WHERE CAST(f.s AS INTEGER) = 1"
    query = f"FROM {many.name} AS m JOIN {few.name} AS f ON m.k = f.k {where}"
    with pytest.raises(Exception, match="Could not convert string 'two'"):
        lake.sql(query).fetchall()
    assert lake.sql(query.replace("CAST", "TRY_CAST")).fetchall() == [(1, 1, 1, "1")]


def test_limits_choose_among_all_rows_before_joins(lake, tmp_path):
    many = new_table(lake, {"k": "BIGINT", "b": "INTEGER"}, partition_by="b")
    many.append([{"k": n, "b": n} for n in range(40)])
    few = new_table(lake, {"k": "BIGINT"})
    few.append([{"k": 1}, {"k": 38}])
    first = f"(SELECT k FROM {many.name} ORDER BY k DESC NULLS LAST LIMIT 4)"
    query = f"SELECT m.k FROM {first} AS m JOIN {few.name} AS f ON m.k = f.k"
    assert lake.sql(query).fetchall() == [(38,)]
    assert lake.sql(query.replace("DESC", "ASC")).fetchall() == [(1,)]
    middle = first.replace("LIMIT 4", "LIMIT 30 OFFSET 2")
    assert lake.sql(query.replace(first, middle)).fetchall() == []
    twice = lake.sql(query.replace("SELECT m.k", "SELECT m.k, f.k", 1))
    assert (twice.columns, twice.fetchall()) == (["k", "k"], [(38, 38)])
    lake.sql(f"CREATE TABLE silver.joined AS {query}")
    lake.sql(f"INSERT INTO silver.joined {query} WHERE m.k < $most", {"most": 40})
    lake.table("silver.joined").append(lake.sql(query))
    assert lake.table("silver.joined").read().fetchall() == [(38,)] * 3
    lake.sql(f"COPY ({query}) TO '{tmp_path}/joined.csv'")
    assert (tmp_path / "joined.csv").read_text().split() == ["k", "38"]


def test_a_name_comes_again_in_other_letters(lake):
    other = new_table(lake, {"k": "BIGINT"})
    other.append([{"k": 1}])
    for name in ("bronze.Again", "bronze.again", "bronze.AGAIN"):
        table = lake.create_table(name, {"k": "BIGINT", "v": "VARCHAR"})
        table.append([{"k": 1, "v": name}])
        for alone in (
            f"SELECT k, v FROM {name}",
            f"SELECT * FROM {name} JOIN {other.name} USING (k)",
        ):
            assert lake.sql(alone).fetchall() == [(1, name)]
        lake.drop_table(name)
