"""What we translate of Spark's expressions has Spark's values; constraints bind both engines."""

import datetime as dt
import math
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

import lakehouse
from lakehouse.delta.schema import fields as delta
from lakehouse.write.expressions import from_spark
from tests.spark.judge import agree, named, quoted

UTC = dt.UTC
COLUMNS: dict[str, tuple[str, delta.Type]] = {
    "i": ("INT", delta.Primitive("integer")),
    "l": ("BIGINT", delta.Primitive("long")),
    "y": ("DOUBLE", delta.Primitive("double")),
    "f": ("FLOAT", delta.Primitive("float")),
    "s": ("STRING", delta.Primitive("string")),
    "d": ("DATE", delta.Primitive("date")),
    "ts": ("TIMESTAMP", delta.Primitive("timestamp")),
    "b": ("BOOLEAN", delta.Primitive("boolean")),
    "n": ("DECIMAL(10,2)", delta.Decimal(10, 2)),
    "st": ("STRUCT<x: INT>", delta.Struct((delta.Field("x", delta.Primitive("integer")),))),
}
SCHEMA = delta.Struct(tuple(delta.Field(name, type_) for name, (_, type_) in COLUMNS.items()))
ROWS = [
    (5, 5, 5.0, 5.0, "abc\n", dt.date(2024, 1, 1), dt.datetime(2024, 1, 1, tzinfo=UTC), True, Decimal("5.00"), None),
    (5, 5, 5.0, 5.0, "a\r\nb c@d.e\u2028", dt.date(2024, 1, 1), dt.datetime(2024, 1, 1, tzinfo=UTC), True, Decimal("5.00"), None),
    (1, 10, 1.5, 0.1, "abc", dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC), True, Decimal("1.50"), {"x": 1}),
    (-7, -3, 2.25, -0.0, "", dt.date(1900, 1, 1), dt.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), False, Decimal("-0.01"), {"x": None}),
    (None,) * 10,
    (3, 4, -0.5, 1e10, "  Ünï x ", dt.date(1999, 12, 31), dt.datetime(1999, 12, 31, 0, 0, 0, tzinfo=UTC), None, Decimal("0.00"), None),
    (1000000, 2000000, -1e9, 1e10, "a%b_c", dt.date(2020, 1, 6), dt.datetime(2020, 1, 6, 12, 30, tzinfo=UTC), True, Decimal("99999999.99"), {"x": 5}),
    (7, 2, 2.5, 2.5, "ABC", dt.date(2021, 1, 3), dt.datetime(2021, 1, 3, 1, 2, 3, tzinfo=UTC), False, Decimal("2.50"), {"x": 7}),
]  # fmt: skip
EXPRESSIONS = [
    "s rlike 'b'",
    "s rlike '^abc$'",
    "s rlike 'a.b'",
    "s rlike '^[a-z]+$'",
    "s rlike '^[^@ ]+@[^@ ]+[.][a-z]{1,3}'",
    "s rlike '[A-Z]{2,}|^$'",
    "not s rlike 'c$'",
    "regexp_like(s, '(a|x).*')",
    "s rlike '^a?.?b'",
    "s rlike '^.{3}$'",
    "i > 0",
    "i >= 7 and b",
    "i > 0 or b",
    "not b",
    "not (i > 0 and y > 1)",
    "y > 1.5",
    "y = y",
    "f > 0.1",
    "f = 0",
    "f >= y",
    "n >= 1.5",
    "n > 1",
    "n = y",
    "i <=> l",
    "s <=> 'abc'",
    "s like 'a%'",
    "s like 'a_%'",
    "s not like '%b%'",
    "length(s)",
    "upper(s)",
    "lower(s)",
    "trim(s)",
    "concat(s, '-', i)",
    "s || d",
    "substring(s,1,2)",
    "substring(s,2)",
    "substr(s,3,10)",
    "left(s,2)",
    "startswith(s,'a')",
    "endswith(s,'c')",
    "contains(s,'b')",
    "i in (1,7,null)",
    "s in ('abc','')",
    "i between 0 and 7",
    "i not between 0 and 7",
    "d between '1900-01-01' and '2020-01-06'",
    "d > '1999-12-30'",
    "d = date'2024-02-29'",
    "ts >= '2020-01-06'",
    "ts > timestamp'1999-12-31 00:00:00'",
    "ts < '2020-01-06 12:30:00.5'",
    "d < ts",
    "cast(ts as date)",
    "to_date(ts)",
    "date(ts)",
    "cast(d as timestamp)",
    "cast(i as string)",
    "cast(b as string)",
    "cast(d as string)",
    "cast(l as int)",
    "cast(i as bigint)",
    "cast(i as double)",
    "cast(n as decimal(12,1))",
    "cast(i as decimal(10,2))",
    "year(d)",
    "year(ts)",
    "month(d)",
    "day(d)",
    "dayofmonth(ts)",
    "quarter(d)",
    "quarter(ts)",
    "dayofyear(d)",
    "hour(ts)",
    "minute(ts)",
    "second(ts)",
    "date_trunc('month', ts)",
    "date_trunc('WEEK', ts)",
    "date_trunc('hour', ts)",
    "trunc(d, 'MM')",
    "trunc(d, 'year')",
    "trunc(d, 'week')",
    "date_format(ts, 'yyyy-MM')",
    "date_format(ts, 'yyyy-MM-dd HH:mm:ss')",
    "date_format(d, 'yyyyMMdd')",
    "i + l",
    "i - 1",
    "i * 2",
    "y * 2",
    "n * 2",
    "n + n",
    "n * n",
    "n - 0.5",
    "i * 1.5",
    "y / 2",
    "i / 2",
    "i / l",
    "i div 2",
    "l div 2",
    "i % 2",
    "l % 3",
    "-i",
    "-y",
    "abs(i)",
    "abs(y)",
    "abs(n)",
    "floor(y)",
    "ceil(y)",
    "floor(n)",
    "ceil(n)",
    "floor(i)",
    "round(n, 1)",
    "round(n)",
    "round(i)",
    "round(i, 2)",
    "coalesce(i, 5)",
    "coalesce(i, l, 0)",
    "coalesce(y, i)",
    "coalesce(s, 'none')",
    "nvl(n, 0)",
    "ifnull(i, 1)",
    "greatest(i, l)",
    "least(i, y)",
    "greatest(y, 1.0)",
    "if(b, 1, 2)",
    "case when i > 0 then 'p' when i < 0 then 'n' end",
    "case when b then i else l end",
    "case when b then 1 else 2.5 end",
    "i is null",
    "b is true",
    "b is not true",
    "b is false",
    "isnull(i)",
    "isnotnull(s)",
    "i is not null",
    "st.x > 1",
    "st.x is null",
    "ST.X = 5",
    "d + 1",
    "d - 1",
    "y > 1 = b",
    "i = 1 and null",
    "null",
    "true",
    "i <> 1",
    "i != 1",
    "(i + 1) * 2 > l",
    "s > 'ABC'",
    "s < ''",
    "s >= 'a'",
    "y > 1e3",
    "l > 10L",
    "i > -1",
    "y < -0.5",
    "n between 0 and 2",
    "ts between '2020-01-01' and '2021-12-31 23:59:59'",
    "concat(i)",
    "length(concat(s, 'x')) > 3",
    "year(d) * 100 + month(d)",
    "CAST(year(ts) AS STRING)",
    "date_format(ts,'HH')",
]  # fmt: skip


@pytest.fixture(scope="module")
def both(spark):
    text = ", ".join(f"{name} {type_}" for name, (type_, _) in COLUMNS.items())
    spark.createDataFrame(ROWS, text).createOrReplaceTempView("judged")
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    types = text.replace("TIMESTAMP", "TIMESTAMPTZ").replace("STRUCT<x: INT>", "STRUCT(x INT)")
    connection.execute(f"CREATE TABLE judged ({types.replace('STRING', 'VARCHAR')})")
    for row in ROWS:
        connection.execute(f"INSERT INTO judged VALUES ({', '.join('?' * len(row))})", row)
    yield spark, connection
    connection.close()


def plain(value):
    if isinstance(value, dt.datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return "nan" if math.isnan(value) else float(value)
    return value


def test_every_expression_has_spark_s_value(both):
    spark, connection = both
    # One query each: what takes Spark long is the number of queries.
    theirs = spark.sql(
        f"SELECT {', '.join(f'({sql}) AS c{n}' for n, sql in enumerate(EXPRESSIONS))} FROM judged"
    ).collect()
    ours = [from_spark(sql, SCHEMA).sql for sql in EXPRESSIONS]
    mine = connection.execute(f"SELECT {', '.join(ours)} FROM judged").fetchall()
    wrong = {
        sql: [
            (their[n], our[n])
            for their, our in zip(theirs, mine, strict=True)
            if plain(their[n]) != plain(our[n])
        ]
        for n, sql in enumerate(EXPRESSIONS)
    }
    assert {sql: values for sql, values in wrong.items() if values} == {}


def test_our_constraints_bind_spark_and_ours_are_read(spark, lake):
    table = lake.create_table(
        "silver.t",
        {"k": "BIGINT NOT NULL", "v": "VARCHAR", "d": "DATE"},
        properties={"delta.enableInCommitTimestamps": True},
    )
    table.append([{"k": 1, "v": "a", "d": dt.date(2024, 1, 1)}])
    alter = table.alter()
    alter.add_constraint("positive", '"k" > 0 AND (v IS NULL OR length(v) < 5)')
    alter.add_constraint("recent", "year(d) >= 2000 AND d > DATE '2000-01-01'")
    good = pa.table({"k": [2], "v": ["b"], "d": [dt.date(2001, 1, 1)]})
    table.append(good)
    spark.sql(f"INSERT INTO {named(table)} VALUES (3, NULL, DATE '2020-02-02')")
    for row in ("(0, 'x', DATE '2020-01-01')", "(4, 'longer', DATE '2020-01-01')", "(4, 'x', NULL)", "(4, 'x', DATE '1999-01-01')"):  # fmt: skip
        with pytest.raises(Exception, match="CONSTRAINT"):
            spark.sql(f"INSERT INTO {named(table)} VALUES {row}")
    with pytest.raises(lakehouse.DataError, match="'recent'"):
        table.append(pa.table({"k": [4], "v": ["x"], "d": pa.array([None], pa.date32())}))
    table.append(pa.table({"k": [5], "v": ["c"], "d": [dt.date(2002, 2, 2)]}))
    table.checkpoint()
    alter.drop_constraint("recent")
    spark.sql(f"INSERT INTO {named(table)} VALUES (6, 'x', DATE '1999-01-01')")
    agree(spark, table)
    history = spark.sql(f"DESCRIBE HISTORY delta.{quoted(str(Path(table.uri)))}").collect()
    theirs = {row["version"]: row["timestamp"] for row in history}
    for commit in table.history():
        assert theirs[commit.version].astimezone(UTC) == commit.timestamp


def test_spark_enables_commit_times_on_our_table_and_we_go_on(spark, lake):
    table = lake.create_table("silver.t", {"k": "BIGINT"})
    table.append([{"k": 1}])
    spark.sql(
        f"ALTER TABLE {named(table)} SET TBLPROPERTIES ('delta.enableInCommitTimestamps' = 'true')"
    )
    table.append([{"k": 2}])
    spark.sql(f"INSERT INTO {named(table)} VALUES (3)")
    table.append([{"k": 4}])
    times = [commit.timestamp for commit in table.history()[::-1]]
    assert times == sorted(set(times))
    for version, at in enumerate(times):
        assert table.snapshot(timestamp=at).version == version
    agree(spark, table)
