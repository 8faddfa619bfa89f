"""Advice on a table's layout: worth it, never worse than now, and said in words."""

import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from lakehouse import Advice, TableScan
from lakehouse.lake.advice import Spread, advise
from lakehouse.lake.words import in_words, plainly, reasons, told
from lakehouse.scan.report import JoinKeys, NotPruned


def scan(kept: int = 100, total: int = 100, **changes: Any) -> TableScan:
    plain = TableScan(
        name="silver.flights",
        version=3,
        files_total=total,
        files_kept=kept,
        bytes_total=total * 10_000_000,
        bytes_kept=kept * 10_000_000,
        rows_total=None,
        rows_kept=None,
        predicate=None,
        filters=(),
        columns=("ts",),
    )
    return dataclasses.replace(plain, **changes)


SPREADS = st.builds(
    Spread,
    st.sampled_from(["a", "b", "c"]),
    depth=st.floats(1, 1000),
    matching=st.floats(0, 1),
    values=st.none() | st.integers(1, 1000),
    places=st.integers(1, 100),
)


@given(st.integers(0, 500), st.integers(0, 500), st.lists(SPREADS, max_size=4))
def test_advice_saves_much_or_is_not_given(kept: int, skipped: int, spreads: list[Spread]) -> None:
    read = scan(kept, kept + skipped)
    advice = advise(read, spreads)
    if advice is None:
        return
    assert 1 <= advice.files_then <= advice.files / 4
    assert (advice.files, advice.bytes) == (read.files_kept, read.bytes_kept)
    assert advice.bytes - advice.bytes_then >= 8_000_000
    chosen = [spread for spread in spreads if spread.column == advice.column]
    # What matches has to be read, in whole files, wherever it lies.
    assert any(advice.files_then >= spread.matching * read.files_total for spread in chosen)
    assert any(spread.depth >= 2 for spread in chosen)


@given(st.integers(1, 500), st.lists(SPREADS, min_size=1, max_size=4))
def test_the_best_column_is_chosen(kept: int, spreads: list[Spread]) -> None:
    read = scan(kept, 500)
    alone = [found for spread in spreads if (found := advise(read, [spread])) is not None]
    together = advise(read, spreads)
    if alone:
        assert together is not None
        assert together.files_then == min(advice.files_then for advice in alone)
    else:
        assert together is None


@pytest.mark.parametrize(
    ("read", "spread"),
    [
        (scan(), Spread("ts", depth=1.2, matching=0.0)),  # clustered as it is
        (scan(), Spread("ts", depth=100, matching=0.5)),  # half of the rows match
        (scan(100, bytes_kept=7_000_000), Spread("ts", depth=100, matching=0.0)),  # small
        (scan(0), Spread("ts", depth=100, matching=0.0)),  # reads nothing
        (scan(answered_from_log=True), Spread("ts", depth=100, matching=0.0)),
        (scan(7), Spread("ts", depth=3, matching=0.0)),  # 4 instead of 7
    ],
)
def test_no_advice(read: TableScan, spread: Spread) -> None:
    assert advise(read, [spread]) is None


def test_small_files_count_where_they_are_many() -> None:
    many = scan(1000, bytes_kept=7_000_000)
    advice = advise(many, [Spread("id", depth=1000, matching=0.0)])
    assert advice is not None
    assert (advice.files_then, advice.bytes_then) == (2, 14000)


def test_few_values_that_fill_files_make_partitions() -> None:
    days = Spread("day", depth=100, matching=0.05, values=10)  # of 100 MB each
    advice = advise(scan(), [days])
    assert advice is not None
    assert advice.action == "partition"
    assert in_words(advice) == (
        "silver.flights, partitioned by day: this query would read about 6 files and 60.0 MB "
        "rather than 100 and 1.0 GB "
        '(CREATE TABLE "silver"."flights_partitioned" PARTITIONED BY ("day") AS FROM "silver"."flights")'
    )
    thin = advise(scan(), [dataclasses.replace(days, values=365)])
    assert thin is not None
    assert thin.action == "cluster"


@pytest.mark.parametrize("action", ["cluster", "partition"])
def test_advice_can_be_followed(tmp_path: Path, action: Literal["cluster", "partition"]) -> None:
    lake = lakehouse.connect(tmp_path)
    table = lake.create_table("silver.odd", {"the day": "DATE", "n": "INTEGER"})
    table.append([{"the day": dt.date(2024, 1, 1), "n": 1}])
    lake.sql(Advice("silver.odd", action, "the day", 16, 47, 1, 3).sql)
    if action == "cluster":
        assert table.properties["lakehouse.clusterBy"] == "the day"
    else:
        copy = lake.table("silver.odd_partitioned")
        assert copy.partition_by == ("the day",)
        assert copy.read().fetchall() == table.read().fetchall()


def test_in_words_of_one_file() -> None:
    advice = Advice("a.b", "cluster", "ts", 16, 47_500_000, 1, 3_000_000)
    assert in_words(advice).startswith("a.b, clustered (sorted) by ts: ")
    assert "about 1 file and 3.0 MB rather than 16 and 47.5 MB" in in_words(advice)


def test_reasons() -> None:
    read = scan(
        2,
        filters=("(n > 3)",),
        predicate="coalesce(max(n) > 3, true)",
        join_keys=(JoinKeys("id", "1", "9", 4), JoinKeys("at", None, "'x'", None)),
        order="the first 10 by ts DESC",
        not_pruned=(
            NotPruned("strftime(ts, '%Y') = '2024'", "strftime hides the order", "use date_trunc"),
            NotPruned("n % 2 = 0", "no bounds follow"),
        ),
    )
    assert list(reasons(read)) == [
        ("filters", "(n > 3)"),
        ("join", "4 keys of id from 1 to 9, by the other side of a join"),
        ("join", "at from … to 'x', by the other side of a join"),
        ("order", "files that cannot hold the first 10 by ts DESC are skipped"),
        ("skipped", "98 files, where this cannot hold: max(n) > 3"),
        ("no help", "strftime(ts, '%Y') = '2024': strftime hides the order → use date_trunc"),
        ("no help", "n % 2 = 0: no bounds follow"),
    ]
    assert next(told(read)) == "silver.flights (version 3): 2 of 100 files, 20.0 MB of 1.0 GB"
    assert list(reasons(scan(answered_from_log=True))) == [
        ("reads", "no file: answered from the log")
    ]


@given(st.text("coales(), trueAND'\"<1", max_size=60))
def test_any_predicate_can_be_said(text: str) -> None:
    assert len(plainly(text)) <= len(text)


def test_text_that_looks_like_a_predicate_stays() -> None:
    quoted = "coalesce(max(s) >= 'coalesce(x, true)', true)"
    assert plainly(quoted) == "max(s) >= 'coalesce(x, true)'"
