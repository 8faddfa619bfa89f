"""Charts: everything that is drawn has its place, whatever the values are."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lakehouse.cli import chart
from tests.cli.conftest import Run

VALUES = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))


@given(
    st.lists(st.tuples(st.text("abc é漢", max_size=40), VALUES, VALUES), max_size=8),
    st.integers(20, 200),
)
def test_bars_fit(rows: list[tuple[str, float | None, float | None]], width: int) -> None:
    series = [
        chart.Series("a", tuple(a for _, a, _ in rows)),
        chart.Series("b", tuple(b for *_, b in rows)),
    ]
    labels = [label for label, *_ in rows]
    drawn = chart.bars(labels, series, width=width)
    assert len(drawn) == 2 * len(rows) + 1  # and the legend
    for line, value in zip(drawn[1:], (value for _, *two in rows for value in two), strict=True):
        shown = "-" if value is None else chart.figure(value)
        assert line.plain.endswith(shown)


@given(
    st.lists(st.tuples(st.floats(-1e300, 1e300), VALUES), min_size=1, max_size=50),
    st.integers(20, 200),
)
def test_lines_fit(points: list[tuple[float, float | None]], width: int) -> None:
    series = [chart.Series("a", tuple(value for _, value in points))]
    drawn = chart.lines([x for x, _ in points], series, ends=("from", "to"), width=width, height=5)
    assert len(drawn) == 6
    assert all(line.cell_len <= max(width, 40) for line in drawn)
    has_dots = any("\u2800" < mark <= "\u28ff" for line in drawn for mark in line.plain)
    assert has_dots == any(value is not None for _, value in points)


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=20))
def test_a_longer_bar_is_a_larger_value(values: list[float]) -> None:
    drawn = chart.bars(["x"] * len(values), [chart.Series("n", tuple(values))], width=200)
    lengths = [sum(line.plain.count(mark) for mark in "█▏▎▍▌▋▊▉") for line in drawn]
    for (value, length), (other, its) in zip(
        zip(values, lengths, strict=True), zip(values[1:], lengths[1:], strict=False), strict=False
    ):
        assert value == other or length == its or (value < other) == (length < its)


def test_bars_of_a_query(run: Run, lake: Path) -> None:
    query = "select carrier, max(delay) as late from silver.flights group by all order by 1"
    outcome = run("sql", query, "--format", "chart")
    first, second = outcome.out.splitlines()
    assert first.startswith("AA")
    assert first.rstrip().endswith("11")
    assert second.startswith("UA B")
    assert second.rstrip().endswith("-4")


def test_lines_of_a_query(run: Run, lake: Path) -> None:
    query = "select date '2024-01-01' + range::int as day, sin(range / 9) as s from range(100)"
    lines = run("sql", query, "-f", "chart").out.splitlines()
    assert len(lines) == 17
    assert lines[-1].split() == ["2024-01-01", "2024-04-09"]
    assert "⡠" in "".join(lines) or "⠤" in "".join(lines)


def test_columns_with_one_name_nulls_and_no_rows(run: Run, lake: Path) -> None:
    twice = run(
        "sql", "select 'a' as x, 1 as x, 2 as x union all select NULL, NULL, 3", "-f", "chart"
    )
    starts = [line.split("  ")[0] for line in twice.out.splitlines()]
    assert starts == ["■ x", "a", "", "NULL", ""]
    assert run("sql", "select 'a' as x, 1 as n where false", "-f", "chart").code == 0
    assert run("sql", "from range(30)", "-f", "chart").out.splitlines()[-1].split() == ["1", "30"]


def test_what_cannot_be_drawn(run: Run, lake: Path) -> None:
    outcome = run("sql", "select 'a' as x", "-f", "chart")
    assert outcome.code == 2
    assert "no column holds numbers" in outcome.err
    assert run("sql", "select 1 as n", "-f", "chart", "-o", "a.csv").code == 2


def test_too_many_rows_are_told(run: Run, lake: Path) -> None:
    outcome = run("sql", "select 'x' || range as x, range from range(60)", "-f", "chart")
    assert len(outcome.out.splitlines()) == 50
    assert "only the first 50 rows" in outcome.err
