"""What tests share of files that are made anew one by one, by splicing or by thinning."""

import itertools

from lakehouse.dml import remaking
from tests.dml.test_merge_races import Pair

_numbers = itertools.count()


def noted(monkeypatch, verb, *users):
    """Remake files of any size, and return a list that notes which: (the file before, after)."""
    found = []

    def remake(*args):
        made = verb(*args)
        found.extend(made)
        return made

    monkeypatch.setattr(remaking, "LEAST", 1)
    for user in users:
        monkeypatch.setattr(user, verb.__name__, remake)
    return found


def maker(lake, usual):
    """Return what makes a table of a lake, with rows, of other columns than the usual if given."""

    def make(rows=(), columns=None, **options):
        table = lake.create_table(f"silver.remade{next(_numbers)}", columns or usual, **options)
        if rows:
            table.append(rows)
        return table

    return make


def raced(tmp_path, monkeypatch):
    """Yield two lakes over one table, and check that nothing is left behind."""
    pair = Pair(tmp_path / "lake", monkeypatch, {})
    yield pair
    assert pair.strays() == set()
    pair.other.close()
    pair.lake.close()
