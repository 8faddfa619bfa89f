"""A delete or partial overwrite beside other writers ends as some serial order."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

import lakehouse
from lakehouse.delta import protocol
from lakehouse.delta.actions import AddFile
from lakehouse.delta.entries import read_commit
from lakehouse.dml import copies, parts, removal
from tests.dml.test_delete import hide_rows


@pytest.fixture
def lake(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        yield lake


class Pair:
    """Two handles on one table, each file with two rows; the second plans on what it saw first."""

    def __init__(self, lake, monkeypatch):
        self.first = lake.create_table(
            "bronze.t", {"n": "BIGINT", "p": "VARCHAR"}, partition_by="p"
        )
        for n in range(4):
            self.first.append([{"n": n, "p": "ab"[n % 2]}, {"n": n + 10, "p": "ab"[n % 2]}])
        self.other_lake = lakehouse.connect(lake.uri, durable=False)
        self.stale = self.other_lake.table("bronze.t")
        seen = self.stale.snapshot()
        # The race: planned before, committed after.
        monkeypatch.setattr(self.stale, "_refreshed", lambda: seen)
        self.plans = 0
        plan = removal.Removal.plan
        copy = parts.Opened.copy
        self.copied: list[set[str]] = []

        def counted(this, snapshot):
            self.plans += 1
            return plan(this, snapshot)

        def noted(opened, **options):
            self.copied.append({add.path for add in opened.snapshot.files.adds()})
            return copy(opened, **options)

        monkeypatch.setattr(removal.Removal, "plan", counted)
        monkeypatch.setattr(parts.Opened, "copy", noted)

    def rows(self):
        return sorted(self.first.read().to_arrow_table()["n"].to_pylist())

    def files_with(self, where):
        """Return the paths of the files with rows that match."""
        numbers = {row[0] for row in self.first.read(columns=["n"], where=where).fetchall()}
        files = self.first.files().to_pylist()
        return [f["path"] for f in files if {f["min.n"], f["max.n"]} & numbers]

    def strays(self):
        """Return the data files that no commit names."""
        storage = self.first.snapshot().storage
        commits = (read_commit(storage, version) for version in range(self.first.version + 1))
        named = {a.key[0] for commit in commits for a in commit if isinstance(a, AddFile)}
        return {i.path for i in storage.list() if i.path.endswith(".parquet")} - named


@pytest.fixture
def pair(lake, monkeypatch):
    pair = Pair(lake, monkeypatch)
    yield pair
    pair.other_lake.close()
    assert pair.strays() == set()


START = [0, 1, 2, 3, 10, 11, 12, 13]


@pytest.mark.parametrize(
    ("added", "where", "plans", "gone"),
    [
        ((2, "a"), "n = 2", 2, [2, 2]),
        ((20, "a"), "n = 2", 1, [2]),  # its bounds say that it cannot match
        ((2, "b"), "n = 2 AND p = 'a'", 1, [2]),  # another partition
        ((4, "b"), "p = 'a'", 1, [0, 2, 10, 12]),
        ((4, "a"), "p = 'a'", 2, [0, 2, 4, 10, 12]),
        ((4, "c"), "upper(p) = 'A'", 1, [0, 2, 10, 12]),
        ((4, "c"), "p = 'c'", 1, []),  # nothing matched: before the append
    ],
)
def test_a_delete_beside_an_append(pair, added, where, plans, gone):
    pair.first.append([dict(zip("np", added, strict=True))])
    report = pair.stale.delete(where)
    expected = [*START, added[0]]
    for n in gone:
        expected.remove(n)
    assert pair.rows() == sorted(expected)
    assert (pair.plans, report.rows_deleted) == (plans, len(gone))


def test_a_delete_beside_a_compaction_of_its_files(pair):
    pair.first.rewrite(pair.first.files()["path"].to_pylist())
    assert pair.stale.delete("n IN (1, 2)").rows_deleted == 2
    assert pair.rows() == [0, 3, 10, 11, 12, 13]
    assert pair.plans == 2


def test_a_delete_beside_a_compaction_of_other_files(pair):
    pair.first.rewrite(pair.files_with("p = 'b'"))
    pair.stale.delete("n = 2")
    assert pair.rows() == [0, 1, 3, 10, 11, 12, 13]
    assert pair.plans == 1


def test_a_compaction_beside_a_delete_of_its_files(pair):
    paths = pair.stale.files()["path"].to_pylist()
    pair.first.delete("n = 2")
    assert pair.stale.rewrite(paths).files_removed == 0
    assert pair.rows() == [0, 1, 3, 10, 11, 12, 13]


@pytest.mark.parametrize(
    ("theirs", "ours", "deleted"),
    [("n = 2", "n = 12", 1), ("n = 2", "n = 2", 0), ("p = 'a'", "n IN (2, 3)", 1), ("n = 0", "n = 2", 1)],
)  # fmt: skip
def test_two_deletes(pair, theirs, ours, deleted):
    pair.first.delete(theirs)
    report = pair.stale.delete(ours)
    assert report.rows_deleted == deleted
    gone = {"n = 2": {2}, "p = 'a'": {0, 2, 10, 12}, "n = 0": {0}}[theirs]
    gone |= {"n = 12": {12}, "n = 2": {2}, "n IN (2, 3)": {2, 3}}[ours]
    assert pair.rows() == sorted(set(START) - gone)


def test_a_delete_beside_an_overwrite(pair):
    pair.first.overwrite([{"n": 2, "p": "a"}, {"n": 5, "p": "a"}])
    assert pair.stale.delete("n = 2").rows_deleted == 1
    assert pair.rows() == [5]


def test_a_delete_beside_a_new_column(pair):
    pair.first.append([{"n": 2, "p": "a", "w": 1}], schema_mode="add")
    assert pair.stale.delete("n = 2").rows_deleted == 2
    assert pair.rows() == [0, 1, 3, 10, 11, 12, 13]
    assert pair.first.schema.names == ["n", "p", "w"]


def test_what_was_copied_is_not_copied_again(pair):
    before = set(pair.files_with("n IN (2, 3)"))
    pair.first.append([{"n": 2, "p": "a"}, {"n": 22, "p": "a"}])
    assert pair.stale.delete("n IN (2, 3)").rows_deleted == 3
    assert pair.rows() == [0, 1, 10, 11, 12, 13, 22]
    assert len(pair.copied) == 2
    assert not before & pair.copied[1]
    assert len(pair.copied[1]) == 1


def test_only_the_group_of_a_rewritten_file_is_copied_again(pair, monkeypatch):
    monkeypatch.setattr(copies, "GROUP_BYTES", 1)  # each file is a group
    before = pair.files_with("n IN (1, 2, 3)")
    (rewritten,) = pair.files_with("n = 2")
    pair.first.rewrite([rewritten])
    pair.copied.clear()
    (after,) = pair.files_with("n = 2")
    assert pair.stale.delete("n IN (1, 2, 3)").rows_deleted == 3
    assert pair.rows() == [0, 10, 11, 12, 13]
    assert sorted(map(sorted, pair.copied)) == sorted([[path] for path in (*before, after)])


def test_rows_that_others_hide_in_a_deletion_vector(pair, monkeypatch):
    monkeypatch.setattr(protocol, "WRITE_FEATURES", protocol.WRITE_FEATURES | {"deletionVectors"})
    (path,) = pair.files_with("n = 2")
    file = next(a for a in pair.first.snapshot().files.adds() if a.key[0] == path)
    hide_rows(pair.first, file, [1])
    assert pair.stale.delete("n = 2").rows_deleted == 1
    assert pair.rows() == [0, 1, 3, 10, 11, 13]


@pytest.mark.parametrize(("added", "plans"), [((2, "a"), 2), ((2, "b"), 1)])
def test_a_partial_overwrite_beside_an_append(pair, added, plans):
    pair.first.append([dict(zip("np", added, strict=True))])
    pair.stale.overwrite([{"n": 30, "p": "a"}], where="p = 'a'")
    assert pair.rows() == sorted([1, 3, 11, 13, 30, *([2] if added[1] == "b" else [])])
    assert pair.plans == plans


def test_two_partial_overwrites_of_one_partition(pair):
    """One follows the other: the rows of both are never there together."""
    pair.first.overwrite([{"n": 30, "p": "c"}], where="p = 'c'")
    pair.stale.overwrite([{"n": 31, "p": "c"}], where="p = 'c'")
    assert pair.rows() == sorted([*START, 31])


def test_the_same_key_from_two_handles(pair):
    first = pair.first.delete("n = 2", idempotency_key=("job", 1))
    again = pair.stale.delete("n = 2", idempotency_key=("job", 1))
    assert (again.replayed, again.version, again.rows_deleted) == (True, first.version, 1)


ROUNDS, ROWS = 8, 6


def _append_many(uri):
    with lakehouse.connect(uri, durable=False) as lake:
        table = lake.table("bronze.raced")
        for start in range(0, ROUNDS * ROWS, ROWS):
            table.append([{"n": start + i} for i in range(ROWS)])
    return True


def _delete_many(uri):
    deleted = 0
    with lakehouse.connect(uri, durable=False) as lake:
        table = lake.table("bronze.raced")
        while True:
            finished = table.version >= ROUNDS
            deleted += table.delete("n % 2 = 0").rows_deleted
            if finished:
                return deleted


def test_processes_that_append_delete_and_rewrite(lake):
    table = lake.create_table("bronze.raced", {"n": "BIGINT"})
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        deleter = pool.submit(_delete_many, lake.uri)
        appender = pool.submit(_append_many, lake.uri)
        deleted = 0
        while not (appender.done() and deleter.done()):
            deleted += table.delete("n % 3 = 0").rows_deleted
            table.rewrite(table.files()["path"].to_pylist())
        assert appender.result()
        deleted += deleter.result()
    # The last appends may have come after the deleters' last look.
    deleted += table.delete("n % 2 = 0 OR n % 3 = 0").rows_deleted
    expected = [(n,) for n in range(ROUNDS * ROWS) if n % 2 and n % 3]
    assert sorted(table.read().fetchall()) == expected
    assert deleted == ROUNDS * ROWS - len(expected)
