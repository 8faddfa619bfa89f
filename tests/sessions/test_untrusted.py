"""Untrusted SQL: it reads the lake's tables and computes, within limits, and nothing else."""

import datetime as dt
import os
import re
import signal
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

import lakehouse
from catalog.storage import open_storage
from lakehouse import Limits
from lakehouse.lake.untrusted.guard import is_forbidden
from lakehouse.lake.untrusted.lent import answer
from tests.sessions.hostile import BOMBS, HARMLESS, REFUSED

CANARY = "canary-b2f1c0"
LIMITS = Limits(timeout=20, memory_limit="128MB", max_rows=50_000, max_bytes="20MB")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Give a folder with a lake in it: one of its data files holds a row that was deleted."""
    folder = tmp_path_factory.mktemp("untrusted")
    (folder / "secret.txt").write_text(CANARY)
    with lakehouse.connect(folder / "lake", durable=False) as lake:
        properties = {"delta.enableDeletionVectors": True}
        notes = lake.create_table(
            "bronze.notes", {"n": "BIGINT", "text": "VARCHAR"}, properties=properties
        )
        notes.append([{"n": 1, "text": "one"}, {"n": 2, "text": CANARY}])
        notes.delete("n = 2")
        notes.append([{"n": 3, "text": "three"}])
        days = lake.create_table("silver.days", {"day": "DATE", "n": "BIGINT"}, partition_by="day")
        for number in range(1, 4):
            days.append([{"day": dt.date(2026, 1, number), "n": number}])
    return folder


@pytest.fixture(scope="module")
def lake(place):
    before = dict(os.environ)
    os.environ |= {"LAKEHOUSE_CANARY": CANARY, "AWS_SECRET_ACCESS_KEY": CANARY}
    config = {"custom_user_agent": CANARY}
    try:
        with lakehouse.connect(
            place / "lake", durable=False, duckdb_config=config, untrusted_sql=LIMITS
        ) as lake:
            yield lake
    finally:
        os.environ.clear()
        os.environ |= before


@pytest.fixture(scope="module")
def trusted(place):
    with lakehouse.connect(place / "lake", durable=False) as lake:
        yield lake


def _filled(place, text):
    data = min((place / "lake" / "bronze").rglob("part-*.parquet"))
    return text.format(file=place / "secret.txt", data=data)


def _shown(result):
    return f"{result.columns} {result.types} {result.fetchall()}"


@pytest.mark.parametrize("text", REFUSED)
def test_hostile_text_is_refused_and_tells_nothing(lake, place, text):
    before = sorted(place.rglob("*"))
    with pytest.raises(lakehouse.InputError) as caught:
        lake.sql(_filled(place, text))
    assert CANARY not in f"{caught.value} {caught.value.__cause__}"
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_hostile_is_answered(lake, place, text):
    shown = _shown(lake.sql(_filled(place, text)))
    assert CANARY not in shown
    assert not (place / "secret.txt.out").exists()


@pytest.mark.parametrize("text", [text for text, bound in BOMBS.items() if bound != "timeout"])
def test_what_takes_too_much_is_stopped_by_name_and_the_lake_goes_on(lake, text):
    bound = BOMBS[text]
    with pytest.raises(lakehouse.InputError) as caught:
        lake.sql(text)
    assert getattr(caught.value, "bound", None) == bound
    assert bound is None or f"Limits({bound}=" in str(caught.value)
    assert lake.sql("SELECT count(*) FROM bronze.notes").fetchall() == [(2,)]


def test_what_takes_too_long_is_stopped_by_name_and_the_lake_goes_on(place):
    endless = [text for text, bound in BOMBS.items() if bound == "timeout"]
    limits = Limits(timeout=3, memory_limit="128MB")
    with lakehouse.connect(place / "lake", durable=False, untrusted_sql=limits) as lake:
        with ThreadPoolExecutor(len(endless)) as pool:
            errors = [pool.submit(lake.sql, text).exception() for text in endless]
        assert [getattr(error, "bound", None) for error in errors] == ["timeout"] * len(endless)
        assert "Limits(timeout=" in str(errors[0])
        assert lake.sql("SELECT count(*) FROM bronze.notes").fetchall() == [(2,)]


QUERIES = {
    "SELECT * FROM bronze.notes ORDER BY n": None,
    "SELECT n AS a, text AS a FROM bronze.notes ORDER BY 1 DESC": None,
    "SELECT count(*), min(day), max(day) FROM silver.days": None,
    "SELECT * FROM silver.days WHERE day = '2026-01-02'": None,
    "SELECT * FROM silver.days WHERE n IN (1, 3) OR day < '2026-01-01' ORDER BY n": None,
    "SELECT * FROM silver.days WHERE day > now() - INTERVAL 100 YEAR ORDER BY n": None,
    "WITH late AS (FROM silver.days WHERE n > ?) SELECT sum(n) FROM late": [1],
    "SELECT $a::DATE, $b, $c, $d FROM range(2)": {
        "a": dt.date(2026, 1, 1), "b": Decimal("1.50"), "c": [1, None], "d": {"x": "y"},
    },
    "SELECT * FROM silver.days AT (VERSION => 1)": None,
    "SELECT o.n AS o, d.n AS d FROM silver.days AT (VERSION => ?) o RIGHT JOIN silver.days d USING (n) "
    "WHERE d.n < ? ORDER BY 2": [1, 3],
    "SELECT count(*) FROM silver.days AT (TIMESTAMP => '2999-01-01')": None,
    "SELECT 1 WHERE false": None,
    "SELECT 1::TINYINT, 2::UTINYINT, 3::SMALLINT, 4::USMALLINT, 5::UINTEGER, 6::UBIGINT, "
    "7::HUGEINT, 8::UHUGEINT, 9::FLOAT, 10::DOUBLE, 11::DECIMAL(38, 10), true, 'x', "
    "'\\x00'::BLOB, DATE '2026-01-01', TIME '01:02:03.5', TIMESTAMP '2026-01-01 00:00:01', "
    "TIMESTAMPTZ '2026-01-01 00:00:01+02', '2026-01-01'::TIMESTAMP_S, "
    "'2026-01-01'::TIMESTAMP_MS, '2026-01-01 00:00:00.123456789'::TIMESTAMP_NS, "
    "INTERVAL '1 month 2 days', gen_random_uuid() IS NULL, "
    "'8ff7a7b2-3f2c-4c53-9d1e-6f3d6c1d2a11'::UUID, '101'::BIT, '12:00:00+02'::TIMETZ, "
    "NULL, 12345678901234567890123456789012345678901234567890::BIGNUM": None,
    "SELECT [1, NULL], {'a': 1, 'b': [{'c': 'd'}]}, MAP {'k': 1.5}, [1, 2]::INTEGER[2], "
    "'{\"a\": 1}'::JSON, union_value(num := 2), "
    "[]::DECIMAL(9, 2)[], NULL::STRUCT(a INT), 'NaN'::DOUBLE, '-inf'::FLOAT": None,
}  # fmt: skip


@pytest.mark.parametrize("text", QUERIES, ids=lambda text: text[:60])
def test_an_answer_is_the_same_as_where_sql_is_trusted(lake, trusted, text):
    ours, theirs = (each.sql(text, QUERIES[text]) for each in (lake, trusted))
    assert (ours.columns, ours.types) == (theirs.columns, theirs.types)
    assert repr(ours.fetchall()) == repr(theirs.fetchall())


def test_settings_that_queries_depend_on_are_kept(place):
    config = {"TimeZone": "Asia/Tokyo", "default_null_order": "nulls_first"}
    query = (
        "SELECT TIMESTAMPTZ '2026-01-01 00:00:00+00'::VARCHAR, list(x ORDER BY x) "
        "FROM (VALUES (1), (NULL)) AS t(x)"
    )
    answers = []
    for untrusted in (False, True):
        with lakehouse.connect(
            place / "lake", durable=False, duckdb_config=config, untrusted_sql=untrusted
        ) as lake:
            answers.append(lake.sql(query).fetchall())
    assert answers == [[("2026-01-01 09:00:00+09", [None, 1])]] * 2


def test_files_are_skipped_and_explained(lake, trusted):
    for where in ("day = '2026-01-02'", "n IN (2, 7)", "n BETWEEN 2 AND 2 OR n = 9"):
        query = f"SELECT * FROM silver.days WHERE {where}"
        (ours,), (theirs,) = lake.explain(query).tables, trusted.explain(query).tables
        assert (ours.files_kept, ours.files_total) == (1, 3)
        assert ours == theirs
    with pytest.raises(lakehouse.InputError, match="read_text"):
        lake.explain("FROM read_text('/etc/hostname')")


def test_filters_with_functions_are_not_evaluated_where_the_lake_is(lake):
    bomb = "SELECT * FROM silver.days WHERE length(repeat(day::VARCHAR, 400000000)) = 7"
    with pytest.raises(lakehouse.InputError, match="memory_limit"):
        lake.sql(bomb)


def test_a_snapshot_is_held_for_untrusted_queries_too(place, trusted):
    with lakehouse.connect(place / "lake", durable=False, untrusted_sql=True) as lake:
        counts = trusted.create_table("gold.counts", {"n": "BIGINT"})
        with lake.snapshot() as view:
            counts.append([{"n": 1}])
            assert view.sql("SELECT count(*) FROM gold.counts").fetchall() == [(0,)]
            with pytest.raises(lakehouse.InputError, match="not allowed"):
                view.sql("SELECT * FROM glob('/*')")
        assert lake.sql("SELECT count(*) FROM gold.counts").fetchall() == [(1,)]
        for call in (
            lambda: lake.table("gold.counts").read(where="n = 1"),
            lambda: lake.table("gold.counts").delete("n = 1"),
            lambda: lake.table("gold.counts").overwrite([{"n": 1}], where="n = 1"),
        ):
            with pytest.raises(lakehouse.InputError, match="untrusted_sql is on"):
                call()
        assert lake.table("gold.counts").read().fetchall() == [(1,)]


def test_views_of_the_lakes_can_be_read(place, trusted):
    trusted.sql("CREATE VIEW gold.late AS SELECT n + 1 AS m FROM silver.days WHERE n > 1")
    trusted.sql("CREATE VIEW gold.later AS SELECT * FROM gold.late WHERE m > 3")
    with lakehouse.connect(place / "lake", durable=False, untrusted_sql=LIMITS) as lake:
        assert lake.sql("SELECT * FROM gold.late ORDER BY m").fetchall() == [(3,), (4,)]
        assert lake.sql("SELECT * FROM gold.later").fetchall() == [(4,)]
        analyzed = lake.explain("SELECT * FROM gold.late WHERE m = 4", analyze=True)
        assert analyzed.analysis is not None
        assert (analyzed.analysis.rows, analyzed.tables[0].files_kept) == (1, 2)
    trusted.sql("DROP VIEW gold.later")
    trusted.sql("DROP VIEW gold.late")


def test_a_table_that_is_not_there_is_named_with_its_near_misses(lake):
    with pytest.raises(lakehouse.NotFoundError) as caught:
        lake.sql("SELECT * FROM bronze.note")
    assert caught.value.near == ("bronze.notes",)
    with pytest.raises(lakehouse.InputError, match="nope"):
        lake.sql("SELECT nope FROM bronze.notes")


def test_remote_tables_are_read_through_the_lake_and_only_their_planned_files():
    uri = f"memory://untrusted-{uuid.uuid4().hex}"
    with (
        lakehouse.connect(uri) as lake,
        lakehouse.connect(uri, untrusted_sql=LIMITS) as untrusted,
    ):
        table = lake.create_table("bronze.wide", {"n": "BIGINT", "text": "VARCHAR"})
        rows = [{"n": n, "text": os.urandom(250).hex()} for n in range(4_000)]
        table.append(rows)
        table.append([{"n": 9_999, "text": "last"}])
        assert table.detail().bytes > 1 << 20
        for query, params in (
            ("SELECT * FROM bronze.wide ORDER BY n", None),
            ("SELECT sum(n), max(text) FROM bronze.wide WHERE n > ?", [100]),
            ("SELECT text FROM bronze.wide WHERE n = 9999", None),
        ):
            expected = lake.sql(query, params).fetchall()
            assert untrusted.sql(query, params).fetchall() == expected
        path = table.files().to_pylist()[0]["path"]
        with pytest.raises(lakehouse.InputError, match="not allowed"):
            untrusted.sql(f"FROM read_parquet('{table.uri}/{path}')")


def test_only_planned_files_are_lent():
    storage = open_storage("memory://lent/table")
    storage.put("a.parquet", b"0123456789")
    storage.put("secret.txt", b"secret")
    planned = frozenset([storage.url("a.parquet")])
    request = {"url": storage.url("a.parquet"), "start": 2, "length": 3, "etag": None}
    assert answer(request, [storage], planned) == b"234"
    assert (
        answer({**request, "end": 4, "size": None}, [storage], planned).data == b"0123456789"[-4:]
    )
    for wrong in (
        {"url": storage.url("secret.txt")},
        {"url": storage.url("a.parquet") + "/../secret.txt"},
        {"url": None},
        {"length": "3"},
        {"start": -1},
        {"length": True},
    ):
        with pytest.raises(lakehouse.InputError):
            answer({**request, **wrong}, [storage], planned)


def test_many_threads_ask_at_once_and_an_interrupt_stops_them(place):
    limits = Limits(timeout=60, memory_limit="128MB", at_once=2)
    with lakehouse.connect(place / "lake", durable=False, untrusted_sql=limits) as lake:
        with ThreadPoolExecutor(8) as pool:
            sums = list(
                pool.map(
                    lambda n: lake.sql(f"SELECT sum(n) + {n} FROM silver.days").fetchall(), range(8)
                )
            )
        assert sums == [[(6 + n,)] for n in range(8)]
        endless = "SELECT count(*) FROM range(1000000000000) WHERE hash(range) = 7"
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(lake.sql, endless)
            while not running.done():
                lake.interrupt()
            assert "interrupted" in str(running.exception())
        assert lake.sql("SELECT 1").fetchall() == [(1,)]


def test_the_process_behind_it_may_be_killed(place):
    before = _children()
    with lakehouse.connect(place / "lake", durable=False, untrusted_sql=LIMITS) as lake:
        assert lake.sql("SELECT 1").fetchall() == [(1,)]
        (child,) = _children() - before
        os.kill(child, signal.SIGKILL)
        assert lake.sql("SELECT 2").fetchall() == [(2,)]
        (again,) = _children() - before - {child}
    assert again not in _children()


def _children():
    """Return the processes that this one started for untrusted SQL."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            command = folder.joinpath("cmdline").read_bytes()
        except OSError:
            continue  # it has ended
        if parent == os.getpid() and b"untrusted.child" in command:
            found.add(int(folder.name))
    return found


def test_a_process_of_a_query_knows_no_environment_and_writes_no_file(lake):
    lake.sql("SELECT 1")
    assert _children()
    for child in _children():
        assert CANARY.encode() not in Path(f"/proc/{child}/environ").read_bytes()
        assert CANARY.encode() not in Path(f"/proc/{child}/cmdline").read_bytes()
        limits = Path(f"/proc/{child}/limits").read_text()
        assert re.search(r"Max file size +0 +0 ", limits)


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"timeout": float("nan")},
        {"memory_limit": "1MB"},
        {"memory_limit": "lots"},
        {"max_rows": 0},
        {"max_bytes": "-1GB"},
        {"threads": True},
        {"at_once": 1.5},
    ],
)
def test_limits_are_checked(wrong):
    with pytest.raises(lakehouse.InputError, match=next(iter(wrong))):
        Limits(**wrong)


def test_a_system_without_limits_is_refused_by_name(place, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(lakehouse.UnsupportedError, match="untrusted_sql needs Linux"):
        lakehouse.connect(place / "lake", untrusted_sql=True)


def test_every_function_that_is_not_plain_computing_was_judged():
    """A new DuckDB's functions that look like access must be forbidden, or be listed here."""
    suspicious = re.compile(
        r"current_|variable|setting|secret|env|log\b|_log|file|\bread|query|plan|attach|pragma"
        r"|duckdb|sql|sleep|exec|import|export|http|url|nextval|setval|currval|load|schema|stats"
    )
    harmless = {
        "current_catalog", "current_database", "current_date", "current_localtime",
        "current_localtimestamp", "current_role", "current_schema", "current_schemas",
        "current_user", "get_current_time", "get_current_timestamp", "log", "parse_filename",
        "url_decode", "url_encode", "inet_client_addr", "has_schema_privilege", "obj_description",
        "pg_conf_load_time", "pg_is_other_temp_schema", "pg_my_temp_schema",
    }  # fmt: skip
    with duckdb.connect() as connection:
        names = connection.sql(
            "SELECT DISTINCT lower(function_name) FROM duckdb_functions() "
            "WHERE function_type NOT IN ('table', 'table_macro', 'pragma')"
        ).fetchall()
    found = {name for (name,) in names if suspicious.search(name)}
    unknown = {n for n in found - harmless if not is_forbidden(n)}
    assert unknown == set()
