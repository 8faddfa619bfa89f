"""The rules of conflict against a model: whoever is let through gives the rows of a serial order."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from lakehouse.delta import actions as act
from lakehouse.delta.conflict import Reads, conflict

Files = dict[str, tuple[int, ...]]  # a table: rows by file


@dataclasses.dataclass(frozen=True)
class Between:
    """A predicate, and what the bounds of a file say of it."""

    low: int
    high: int

    def __call__(self, row: int) -> bool:
        return self.low <= row <= self.high

    def may_match(self, rows: tuple[int, ...]) -> bool:
        return bool(rows) and min(rows) <= self.high and max(rows) >= self.low


class Commit:
    """A commit's actions, with the rows of its files beside them."""

    def __init__(self, removed=(), added=(), *, data_change=True):
        self.removed = tuple(removed)
        self.added = dict(added)
        self.data_change = data_change
        self.actions: list[act.Action] = [
            *(act.RemoveFile(path, 1, data_change) for path in self.removed),
            *(act.AddFile(path, {}, 1, 1, data_change) for path in self.added),
        ]

    def on(self, files: Files) -> Files:
        assert set(self.removed) <= files.keys(), "a file was removed twice"
        return {p: r for p, r in files.items() if p not in self.removed} | self.added


def rows_of(files: Files) -> list[int]:
    return sorted(row for rows in files.values() for row in rows)


def rewritten(files: Files, name: str, rows_after) -> tuple[Commit, frozenset]:
    """Return the commit of copy-on-write, and the files that it touches."""
    touched = {path: rows_after(rows) for path, rows in files.items() if rows_after(rows) != rows}
    added = {f"{name}-{path}": rows for path, rows in touched.items() if rows}
    return Commit(touched, added), frozenset((path, "") for path in touched)


values = st.integers(0, 5)
rows = st.lists(values, min_size=1, max_size=3).map(tuple)
ranges = st.tuples(values, values).map(lambda pair: Between(min(pair), max(pair)))
tables = st.dictionaries(st.sampled_from("abcd"), rows, max_size=4)


@st.composite
def commits(draw, files: Files, name: str):
    """Draw what somebody else does to the table as it is by then."""
    what = draw(st.sampled_from(("append", "delete", "update", "compact", "overwrite", "hide")))
    if what == "append":
        return Commit(added={name: draw(rows)})
    if what == "overwrite":
        return Commit(files, {name: draw(rows)})
    if what == "compact":
        chosen = draw(st.sets(st.sampled_from(sorted(files)))) if files else set()
        merged = tuple(row for path in sorted(chosen) for row in files[path])
        return Commit(chosen, {name: merged} if merged else {}, data_change=False)
    predicate, value = draw(ranges), draw(values)
    if what == "update":
        change = lambda found: tuple(value if predicate(row) else row for row in found)  # noqa: E731
    elif what == "hide":
        # No row changes, and the writer claims that some did.
        chosen = draw(st.sets(st.sampled_from(sorted(files)))) if files else set()
        return Commit(chosen, {f"{name}-{path}": files[path] for path in chosen})
    else:
        change = lambda found: tuple(row for row in found if not predicate(row))  # noqa: E731
    return rewritten(files, name, change)[0]


@st.composite
def races(draw):
    """Draw a table and the commits that come between our reading and our commit."""
    files = draw(tables)
    winners, now = [], files
    for number in range(draw(st.integers(0, 3))):
        winner = draw(commits(now, f"w{number}"))
        winners.append(winner)
        now = winner.on(now)
    return files, winners, now


def replaced(
    files: Files, winners: list[Commit], where: Between, new: tuple[int, ...]
) -> tuple[Commit, Reads]:
    """Return our commit: the rows that match give way to new ones (none: a delete)."""
    keep = lambda found: tuple(row for row in found if not where(row))  # noqa: E731
    commit, touched = rewritten(files, "ours", keep)
    added = {**commit.added, **({"new": new} if new else {})}
    known = {path: rows for winner in winners for path, rows in winner.added.items()}

    def matching(adds):
        return [add.key for add in adds if where.may_match(known[add.path])]

    return Commit(commit.removed, added), Reads(touched, matching=matching)


@given(race=races(), where=ranges, new=st.lists(values, max_size=2).map(tuple))
def test_what_is_let_through_equals_a_serial_order(race, where, new):
    files, winners, now = race
    ours, reads = replaced(files, winners, where, new)
    if any(conflict(ours.actions, reads, winner.actions) for winner in winners):
        return
    expected = [row for row in rows_of(now) if not where(row)] + list(new)
    assert rows_of(ours.on(now)) == sorted(expected)


@given(race=races(), where=ranges)
def test_only_files_that_may_match_disturb(race, where):
    files, winners, _ = race
    ours, reads = replaced(files, winners, where, ())
    for winner in winners:
        removes_ours = {(path, "") for path in winner.removed} & reads.files
        may_match = any(where.may_match(rows) for rows in winner.added.values())
        if not removes_ours and not (may_match and winner.data_change):
            assert conflict(ours.actions, reads, winner.actions) is None
        if removes_ours:
            assert conflict(ours.actions, reads, winner.actions) is not None


@given(race=races(), new=rows)
def test_blind_appends_follow_any_change_of_rows(race, new):
    _, winners, now = race
    ours = Commit(added={"new": new})
    assert all(conflict(ours.actions, Reads(), winner.actions) is None for winner in winners)
    assert rows_of(ours.on(now)) == sorted([*rows_of(now), *new])


def test_the_predicate_is_asked_once_a_commit_and_only_of_new_rows():
    asked = []

    def matching(adds):
        asked.append([add.path for add in adds])
        return []

    reads = Reads(matching=matching)
    winner: list[act.Action] = [
        act.AddFile("a", {}, 1, 1),
        act.AddFile("moved", {}, 1, 1, data_change=False),
        act.RemoveFile("b", 1),
        act.AddFile("c", {}, 1, 1),
    ]
    assert conflict([], reads, winner) is None
    assert conflict([], reads, [act.RemoveFile("b", 1)]) is None
    assert asked == [["a", "c"]]
    assert not reads.is_blind
