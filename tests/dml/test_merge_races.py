"""A merge or update beside other writers ends as some serial order, and no later than it must."""

import threading

import pytest

import lakehouse
from lakehouse.delta.actions import AddFile
from lakehouse.delta.entries import read_commit
from lakehouse.dml import copies, merging, output, parts


class Pair:
    """Two handles on one table of four files; the second plans on what it saw first."""

    def __init__(self, folder, monkeypatch, properties):
        self.lake = lakehouse.connect(folder, durable=False)
        self.first = self.lake.create_table(
            "silver.t", {"id": "BIGINT", "n": "BIGINT", "p": "VARCHAR"},
            partition_by="p", properties=properties,
        )  # fmt: skip
        for i in range(4):
            self.first.append([{"id": i * 10 + k, "n": 0, "p": "ab"[i % 2]} for k in range(10)])
        self.other = lakehouse.connect(folder, durable=False)
        self.stale = self.other.table("silver.t")
        seen = self.stale.snapshot()
        monkeypatch.setattr(self.stale, "_refreshed", lambda: seen)
        self.plans = 0
        self.opened: list[tuple[str, set[str]]] = []
        plan, opened = merging.Merging.plan, parts.opened

        def counted(this, snapshot):
            self.plans += this._scanner is self.stale._scanner
            return plan(this, snapshot)

        def noted(snapshot, scanner, doing):
            if scanner is self.stale._scanner:
                self.opened.append((doing, {add.path for add in snapshot.files.adds()}))
            return opened(snapshot, scanner, doing)

        monkeypatch.setattr(merging.Merging, "plan", counted)
        for module in (merging, output):
            monkeypatch.setattr(module, "opened", noted)

    def rows(self):
        return dict(self.first.read(columns=["id", "n"]).fetchall())

    def strays(self):
        """Return the data files that no commit names."""
        storage = self.first.snapshot().storage
        commits = (read_commit(storage, version) for version in range(self.first.version + 1))
        named = {a.key[0] for commit in commits for a in commit if isinstance(a, AddFile)}
        return {i.path for i in storage.list() if i.path.endswith(".parquet")} - named

    def read(self, doing):
        """Return the files that the second handle opened, call by call."""
        return [paths for done, paths in self.opened if done == doing]


@pytest.fixture(params=["copies", "vectors"])
def pair(tmp_path, monkeypatch, request):
    marks = "true" if request.param == "vectors" else "false"
    pair = Pair(tmp_path / "lake", monkeypatch, {"delta.enableDeletionVectors": marks})
    yield pair
    assert pair.strays() == set()
    pair.other.close()
    pair.lake.close()


BASE = {i * 10 + k: 0 for i in range(4) for k in range(10)}


def upsert(table, *ids, n=1, p="a"):
    return table.upsert([{"id": i, "n": n, "p": p} for i in ids], key=["id", "p"])


@pytest.mark.parametrize(
    ("theirs", "ours", "plans"),
    [
        ((1, 2), (21, 22), 1),  # other files of the partition
        ((1, 2), (3, 4), 2),  # the same file, other rows
        ((1, 2), (2, 3), 2),  # the same row: the later one wins
    ],
)
def test_two_merges(pair, theirs, ours, plans):
    upsert(pair.first, *theirs, n=1)
    report = upsert(pair.stale, *ours, n=2)
    assert pair.rows() == BASE | dict.fromkeys(theirs, 1) | dict.fromkeys(ours, 2)
    assert (pair.plans, report.rows_updated, report.rows_inserted) == (plans, len(ours), 0)


def test_two_merges_on_two_partitions(pair):
    upsert(pair.first, 1, 2, p="a")
    upsert(pair.stale, 11, 12, p="b", n=2)
    assert pair.rows() == BASE | {1: 1, 2: 1, 11: 2, 12: 2}
    assert pair.plans == 1


@pytest.mark.parametrize(
    ("appended", "plans", "updated"),
    [(100, 2, 1), (500, 1, 0), (50, 1, 0), (None, 1, 0)],
)
def test_a_merge_beside_an_append(pair, appended, plans, updated):
    """Its keys, met in the meantime, are updated and not there twice; others disturb nobody."""
    pair.first.append([{"id": appended, "n": 5, "p": "a"}])
    report = upsert(pair.stale, 100, 101, n=2)
    rows = sorted(
        pair.first.read(columns=["id", "n"], where="id >= 50 OR id IS NULL").fetchall(), key=str
    )
    expected = [(100, 2), (101, 2), *([] if updated else [(appended, 5)])]
    assert rows == sorted(expected, key=str)
    assert (pair.plans, report.rows_updated, report.rows_inserted) == (plans, updated, 2 - updated)


def test_two_merges_that_insert_the_same_key(pair):
    upsert(pair.first, 100, n=1)
    report = upsert(pair.stale, 100, n=2)
    assert pair.rows() == BASE | {100: 2}
    assert (report.rows_updated, report.rows_inserted) == (1, 0)


def test_a_merge_that_only_updates_reads_no_row_that_its_condition_excludes(pair):
    pair.first.append([{"id": 1, "n": 7, "p": "b"}])
    report = (
        pair.stale.merge([{"id": 1}], on="t.id = s.id AND t.p = 'a'")
        .when_matched_update({"n": "3"})
        .run()
    )
    assert (pair.plans, report.rows_updated) == (1, 1)
    found = pair.first.read(columns=["p", "n"], where="id = 1").fetchall()
    assert sorted(found) == [("a", 3), ("b", 7)]


def test_rows_that_nothing_matches_are_deleted_if_they_came_meanwhile(pair):
    pair.first.append([{"id": 100, "n": 5, "p": "b"}])
    keep = pair.stale.merge([{"id": 1}, {"id": 2}], on="id")
    report = keep.when_not_matched_by_source_delete().run()
    assert pair.rows() == {1: 0, 2: 0}
    assert (pair.plans, report.rows_deleted) == (2, 39)


@pytest.mark.parametrize(("theirs", "plans"), [("id = 2", 2), ("id = 21", 1), ("id = 5", 2)])
def test_an_update_beside_a_delete(pair, theirs, plans):
    pair.first.delete(theirs)
    report = pair.stale.update({"n": "n + 1"}, where="id IN (2, 3)")
    expected = BASE | {2: 1, 3: 1}
    del expected[int(theirs.removeprefix("id = "))]
    assert pair.rows() == expected
    assert pair.plans == plans
    assert report.rows_updated == (1 if theirs == "id = 2" else 2)


def test_an_update_beside_a_compaction(pair):
    pair.first.rewrite(pair.first.files()["path"].to_pylist())
    pair.stale.update({"n": "n + 1"}, where="id IN (2, 3)")
    assert pair.rows() == BASE | {2: 1, 3: 1}


def test_a_merge_beside_a_new_column(pair):
    pair.first.append([{"id": 100, "n": 2, "p": "a", "w": 1}], schema_mode="add")
    upsert(pair.stale, 1, 100, n=3)
    assert pair.rows() == BASE | {1: 3, 100: 3}
    found = pair.first.read(columns=["id", "w"], where="id IN (1, 100)").fetchall()
    assert sorted(found) == [(1, None), (100, 1)]


def test_only_what_changed_is_looked_into_and_copied_again(pair, monkeypatch):
    monkeypatch.setattr(copies, "GROUP_BYTES", 1)  # each file is a group
    pair.first.append([{"id": 22, "n": 5, "p": "a"}])
    report = upsert(pair.stale, 1, 22, n=2)
    assert (pair.plans, report.rows_updated) == (2, 3)
    first, second = pair.read("find the rows that match")
    assert (len(first), len(second)) == (2, 1)
    assert not first & second
    copied = pair.read("copy rows")
    assert len(copied) == len({path for paths in copied for path in paths})


def test_the_same_key_from_two_handles(pair):
    rows = [{"id": 1, "n": 4, "p": "a"}, {"id": 100, "n": 4, "p": "a"}]
    first = pair.first.upsert(rows, key=["id", "p"], idempotency_key=("job", 1))
    again = pair.stale.upsert(rows, key=["id", "p"], idempotency_key=("job", 1))
    assert again.replayed
    assert (again.version, again.rows_updated, again.rows_inserted) == (first.version, 1, 1)


def test_threads_that_upsert_the_same_keys(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        table = lake.create_table("silver.t", {"id": "BIGINT", "n": "BIGINT"})
        failures = []

        def work(number):
            try:
                for turn in range(4):
                    table.upsert(
                        [{"id": turn, "n": number}, {"id": turn + 1, "n": number}], key="id"
                    )
            except lakehouse.LakehouseError as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert sorted(id_ for id_, _ in table.read().fetchall()) == list(range(5))
