"""The pair matrix: a stale second operation equals a serial order, or changes nothing."""

import itertools

import pytest

import lakehouse
from lakehouse.testing.grid import grid, totals
from lakehouse.testing.matrix import Matrix, Pair, names, pairs
from lakehouse.testing.tables import KINDS


@pytest.fixture(scope="module")
def matrix():
    with Matrix() as matrix:
        yield matrix


def _third(first_by, second_by):
    """Yield a third of all pairs, the kinds of tables in turn; `make matrix` runs all of all."""
    layouts = itertools.cycle(itertools.product(KINDS, (True, False)))
    for row, first in enumerate(names(first_by)):
        for column, second in enumerate(names(second_by)):
            if (row + column) % 3 == 0:
                kind, overlap = next(layouts)
                yield Pair(first, second, kind, overlap, first_by, second_by)


def test_every_pair_of_ours_equals_a_serial_order_or_changes_nothing(matrix):
    cells = [matrix.run(pair) for pair in _third("ours", "ours")]
    assert [f"{cell.pair}: {cell.problem}" for cell in cells if cell.problem] == []
    assert {"committed", "rebased", "redone", "refused"} <= {cell.outcome for cell in cells}


DANGEROUS = ("append", "overwrite", "overwrite part", "delete", "rewrite", "restore")


@pytest.mark.parametrize("second", DANGEROUS)
def test_what_delta_rs_commits_first_is_seen_by_us(matrix, second):
    for first in ("append", "delete", "merge", "rewrite"):
        cell = matrix.run(Pair(first, second, first_by="delta-rs"))
        assert cell.problem is None, cell
        assert cell.outcome in ("rebased", "redone", "nothing"), cell


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("rewrite", "rewrite"),
        ("rewrite", "overwrite"),
        ("rewrite", "delete"),
        ("delete", "rewrite"),
    ],
)
def test_the_matrix_finds_what_lax_rules_break(matrix, monkeypatch, first, second):
    pair = Pair(first, second)
    assert matrix.run(pair).problem is None
    monkeypatch.setattr("lakehouse.delta.commit.conflict", lambda *_: None)
    assert "equals no serial order" in str(matrix.run(pair).problem)


def test_the_matrix_finds_a_vacuum_that_takes_too_much(matrix, monkeypatch):
    pair = Pair("append", "vacuum")
    assert matrix.run(pair).outcome == "committed"
    monkeypatch.setattr("lakehouse.table.vacuuming._live", lambda _: iter(()))
    with pytest.raises(lakehouse.StorageError):
        matrix.run(pair)


def test_the_grid_has_a_cell_for_each_pair(matrix):
    chosen = [pair for pair in pairs(kinds=["plain"], overlaps=[True]) if pair.second == "append"]
    cells = [matrix.run(pair) for pair in chosen if pair.first in ("append", "checkpoint")]
    assert "2 pairs, ours before ours: 1 rebased, 1 committed" in "\n".join(totals(cells))
    text = "\n".join(grid(cells))
    assert "rebase" in text
    assert "commit" in text
