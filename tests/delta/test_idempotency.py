"""A write with a key happens once, whatever is tried again."""

import json
import time

import pytest

import lakehouse
from lakehouse.delta.protocol import writer_features
from lakehouse.delta.snapshot import load_latest

KEY = ("job", 17)


@pytest.fixture
def lake(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        yield lake


@pytest.fixture
def table(lake):
    return lake.create_table("bronze.t", {"n": "BIGINT"})


def rewrite(table, **options):
    return table.rewrite(table.files(version=2)["path"].to_pylist(), **options)


# Each is given a table of the rows 1 and 2, in a commit each.
VERBS = {
    "append": lambda table, **options: table.append([{"n": 3}], **options),
    "overwrite": lambda table, **options: table.overwrite([{"n": 3}], **options),
    "overwrite where": lambda table, **options: table.overwrite(
        [{"n": 2}], where="n = 2", **options
    ),
    "delete": lambda table, **options: table.delete(where="n = 1", **options),
    "restore": lambda table, **options: table.restore(1, **options),
    "rewrite": rewrite,
    "add column": lambda table, **options: table.alter(**options).add_column("m", "BIGINT"),
    "add constraint": lambda table, **options: table.alter(**options).add_constraint("c", "n > 0"),
    "set properties": lambda table, **options: table.alter(**options).set_properties({"a": "b"}),
}


@pytest.fixture(params=VERBS)
def verb(request, table):
    table.append([{"n": 1}])
    table.append([{"n": 2}])
    return VERBS[request.param]


def contents(table):
    return sorted(map(str, table.read().fetchall())), table.version, dict(table.properties)


def test_a_second_call_writes_nothing_and_reports_the_first(lake, table, verb):
    first = verb(table, idempotency_key=KEY)
    after = contents(table)
    assert (first.version, first.replayed) == (3, False)
    again = verb(table, idempotency_key=KEY)
    other = verb(lakehouse.connect(lake.uri).table("bronze.t"), idempotency_key=KEY)
    for report in (again, other):
        assert report.replayed
        told = ("version", "rows", "files_added", "files_removed", "bytes_added", "bytes_removed")
        assert [getattr(report, name) for name in told] == [getattr(first, name) for name in told]
    assert contents(table) == after


def test_two_handles_that_race_write_once(lake, table, verb):
    before = table.snapshot()
    other = lakehouse.connect(lake.uri).table("bronze.t")
    first = verb(other, idempotency_key=KEY)
    after = contents(other)
    files = len([item for item in before.storage.list() if item.path.endswith(".parquet")])
    table._refreshed = lambda: before  # it does not see the other one's commit before its own
    report = verb(table, idempotency_key=KEY)
    del table._refreshed
    assert (report.replayed, report.version) == (True, first.version)
    assert contents(table) == after
    left = [item for item in before.storage.list() if item.path.endswith(".parquet")]
    assert len(left) == files


class Deaf:
    """Wrap a backend whose first commit lands, and that gives no answer any more."""

    def __init__(self, backend):
        self._backend = backend
        self._deaf = False

    def __getattr__(self, name):
        return getattr(self._backend, name)

    def put_if_absent(self, path, data):
        if not self._deaf:
            self._deaf = True
            self._backend.put_if_absent(path, data)
        raise lakehouse.OutcomeUnknownError("no answer")

    def read(self, path):
        if self._deaf:
            raise lakehouse.StorageError("no network")
        return self._backend.read(path)


def test_a_retry_after_a_lost_answer_writes_once(lake, table, verb):
    storage = table.snapshot().storage
    backend = storage._backend
    object.__setattr__(storage, "_backend", Deaf(backend))
    with pytest.raises(lakehouse.OutcomeUnknownError):
        verb(table, idempotency_key=KEY)
    object.__setattr__(storage, "_backend", backend)
    after = contents(lakehouse.connect(lake.uri).table("bronze.t"))
    report = verb(table, idempotency_key=KEY)
    assert (report.replayed, report.version) == (True, 3)
    assert contents(table) == after
    table.checkpoint()
    assert verb(table, idempotency_key=KEY).version == 3


def test_a_smaller_number_is_done_and_a_greater_one_is_not(table):
    table.append([{"n": 1}], idempotency_key=("job", 17))
    assert table.append([{"n": 2}], idempotency_key=("job", 3)).replayed
    assert not table.append([{"n": 3}], idempotency_key=("job", 18)).replayed
    assert not table.append([{"n": 4}], idempotency_key=("other", 3)).replayed
    assert sorted(table.read().fetchall()) == [(1,), (3,), (4,)]


def test_keys_survive_a_checkpoint(lake, table):
    table.append([{"n": 1}], idempotency_key=("job", 1))
    table.checkpoint()
    with lakehouse.connect(lake.uri) as fresh:
        assert fresh.table("bronze.t").append([{"n": 1}], idempotency_key=("job", 1)).replayed
    assert table.read().fetchall() == [(1,)]


def test_keys_expire_where_the_table_says_so(lake):
    table = lake.create_table(
        "bronze.e",
        {"n": "BIGINT"},
        properties={"delta.setTransactionRetentionDuration": "interval 2 days"},
    )
    old = (time.time_ns() // 1_000_000) - 3 * 86_400_000
    folder = table.snapshot().storage.local_path / "_delta_log"
    marks = [
        {"appId": "old", "version": 5, "lastUpdated": old},
        {"appId": "timeless", "version": 5},
    ]
    body = "\n".join(json.dumps({"txn": mark}) for mark in marks)
    (folder / f"{1:020d}.json").write_text(body + "\n")
    table.append([{"n": 0}], idempotency_key=("new", 5))
    assert table.append([{"n": 0}], idempotency_key=("new", 5)).replayed
    assert table.append([{"n": 0}], idempotency_key=("timeless", 5)).replayed
    table.checkpoint()
    snapshot = load_latest(table.snapshot().storage, lake._engine)
    assert snapshot.checkpoint_version == table.version
    assert set(snapshot.transactions) == {"new", "timeless"}
    assert not table.append([{"n": 1}], idempotency_key=("old", 4)).replayed


@pytest.mark.parametrize("key", ["job", ("job",), ("job", "1"), ("", 1), ("job", -1), 7])
def test_a_key_of_another_form_is_refused(table, key):
    with pytest.raises(lakehouse.InputError, match="idempotency key"):
        table.append([{"n": 1}], idempotency_key=key)
    assert table.version == 0


def test_every_commit_says_who_did_what(table, verb):
    verb(table, metadata={"run": 7})
    assert [commit.metadata for commit in table.history()] == [{"run": 7}, None, None, None]
    folder = table.snapshot().storage.local_path / "_delta_log"
    for file in sorted(folder.glob("*.json")):
        info = json.loads(file.read_text().splitlines()[0])["commitInfo"]
        assert info["engineInfo"].startswith("lakehouse-storage/")
        assert len(info["txnId"]) == 32
        assert info["userName"]
        assert info["timestamp"] > 0
        assert info["operation"].isupper()
        assert all(isinstance(value, str) for value in info["operationMetrics"].values())
        assert all(isinstance(value, str) for value in info["operationParameters"].values())
        if info["operation"] in ("WRITE", "DELETE", "RESTORE", "OPTIMIZE"):
            assert info["operationMetrics"]
        if info["operation"] != "OPTIMIZE":
            assert info["operationParameters"]


def test_creation_keeps_metadata(lake):
    lake.create_table("bronze.m", {"n": "BIGINT"}, metadata={"run": 0})
    (commit,) = lake.table("bronze.m").history()
    assert (commit.operation, commit.metadata) == ("CREATE TABLE", {"run": 0})


def test_other_engines_domains_survive_commits_and_checkpoints(lake):
    table = lake.create_table("bronze.d", {"n": "BIGINT"})
    folder = table.snapshot().storage.local_path / "_delta_log"
    features = ["appendOnly", "domainMetadata", "invariants"]
    protocol = {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": features}
    actions = [
        {"protocol": protocol},
        {"domainMetadata": {"domain": "com.example", "configuration": '{"a":1}', "removed": False}},
        {"domainMetadata": {"domain": "gone", "configuration": "", "removed": False}},
    ]
    (folder / f"{1:020d}.json").write_text("\n".join(map(json.dumps, actions)) + "\n")
    table.append([{"n": 1}])
    actions = [{"domainMetadata": {"domain": "gone", "configuration": "", "removed": True}}]
    (folder / f"{3:020d}.json").write_text("\n".join(map(json.dumps, actions)) + "\n")
    table.overwrite([{"n": 2}])
    table.restore(2)
    table.alter().add_constraint("c", "n > 0")
    table.checkpoint()
    table.append([{"n": 3}])
    snapshot = load_latest(table.snapshot().storage, lake._engine)
    alive = {name: d.configuration for name, d in snapshot.domains.items() if not d.removed}
    assert alive == {"com.example": '{"a":1}'}
    assert {"checkConstraints", "domainMetadata"} <= writer_features(snapshot.protocol)
