"""The linter: histories that we make are clean, and each kind of damage is found by its rule only."""

import json
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lakehouse
from lakehouse.delta import actions as act
from lakehouse.delta.codec import from_lines, to_lines
from lakehouse.delta.log import commit_path
from lakehouse.lint.findings import Finding, Rule
from lakehouse.lint.history import lint_commits
from lakehouse.testing import lint
from lakehouse.testing.script import SCHEMA, perform, step

INT = '{"type":"struct","fields":[{"name":"n","type":"long","nullable":true,"metadata":{}}]}'
PART = '{"name":"p","type":"string","nullable":true,"metadata":{}}'
PARTITIONED = INT.replace("]}", f",{PART}]}}")


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    with lakehouse.connect(tmp_path_factory.mktemp("lake"), durable=False) as lake:
        yield lake


@settings(max_examples=5)
@given(seed=st.integers(0, 1 << 30), length=st.integers(1, 14))
def test_what_our_verbs_write_is_clean(lake, seed, length):
    table = lake.create_table(f"bronze.t{seed}_{length}", SCHEMA, if_not_exists=True)
    for number in range(length):
        perform(table, step(seed, number), keyed=False)
    assert lint(table.uri) == []


# A history of pure actions, and every way to damage it -------------------------------------------


def info(**values):
    return act.CommitInfo({"operation": "WRITE", **values})


def add(path, rows=1, *, change=True, vector=None, partition=None, stats=True):
    return act.AddFile(
        path,
        {} if partition is None else {"p": partition},
        100,
        1,
        data_change=change,
        stats=json.dumps({"numRecords": rows}) if stats else None,
        deletion_vector=vector,
    )


def remove(file, *, change=True):
    return file.removed(deletion_timestamp=2, data_change=change)


def vector(rows):
    return act.DeletionVector("i", "abc", 3, rows)


def metadata(schema=INT, partition_columns=(), **properties):
    names = {name.replace("_", "."): value for name, value in properties.items()}
    return act.Metadata("id", schema, partition_columns, names)


PROTOCOL = act.Protocol(3, 7, frozenset({"deletionVectors"}), frozenset({"deletionVectors"}))
A, B, C = add("a", 2), add("b", 3), add("c", 5, change=False)
START = [info(), PROTOCOL, metadata()]


def rules(*commits):
    return [finding.rule for finding in lint_commits(enumerate(commits)) if not finding.note]


def notes(*commits):
    return [finding.rule for finding in lint_commits(enumerate(commits)) if finding.note]


def test_a_sound_history_is_clean():
    marked = add("b", 3, vector=vector(1))
    history = [
        START,
        [info(), act.Transaction("job", 1), A, B],
        [info(), act.Transaction("job", 2), remove(B), marked],
        [info(), remove(A, change=False), remove(marked, change=False), add("c", 4, change=False)],
        [info(), remove(add("c", 4)), A, B, act.DomainMetadata("d", "{}")],
        [info(operation="DROP FEATURE"), act.Protocol(1, 2)],
    ]
    assert lint_commits(enumerate(history)) == []


ICT = metadata(delta_enableInCommitTimestamps="true")
DAMAGE = {
    "a remove of what never was": ("removes", [START, [A], [remove(B)]]),
    "a remove of what is gone": ("removes", [START, [A], [remove(A)], [remove(A)]]),
    "a remove without the vector": (
        "removes",
        [START, [add("a", 2, vector=vector(1))], [remove(A)]],
    ),
    "an add of what is live": ("adds", [START, [A], [A]]),
    "an add with another vector": ("adds", [START, [A], [add("a", 2, vector=vector(1))]]),
    "one file with two vectors": (
        "adds",
        [START, [A, add("a", 2, vector=vector(1))]],
    ),
    "a rewrite that loses rows": (
        "rows",
        [
            START,
            [A, B],
            [remove(A, change=False), remove(B, change=False), add("c", 4, change=False)],
        ],
    ),
    "a rewrite that brings deleted rows back": (
        "rows",
        [
            START,
            [add("a", 2, vector=vector(1))],
            [remove(add("a", 2, vector=vector(1)), change=False), add("c", 2, change=False)],
        ],
    ),
    "rows from nowhere": ("rows", [START, [C]]),
    "a rewrite that moves rows to another partition": (
        "rows",
        [
            [PROTOCOL, metadata(PARTITIONED, ("p",))],
            [add("a", 1, partition="x"), add("b", 1, partition="y")],
            [
                remove(add("a", 1, partition="x"), change=False),
                remove(add("b", 1, partition="y"), change=False),
                add("c", 2, change=False, partition="x"),
            ],
        ],
    ),
    "more rows deleted than there are": ("rows", [START, [add("a", 2, vector=vector(3))]]),
    "two metadata": ("once", [[PROTOCOL, metadata(), metadata()]]),
    "two protocols": ("once", [[PROTOCOL, PROTOCOL, metadata()]]),
    "two commit infos": ("once", [[info(), info(), PROTOCOL, metadata()]]),
    "two transactions of one application": (
        "once",
        [START, [act.Transaction("job", 1), act.Transaction("job", 1)]],
    ),
    "two words on one domain": (
        "once",
        [START, [act.DomainMetadata("d", "1"), act.DomainMetadata("d", "2")]],
    ),
    "a number that comes again": (
        "transactions",
        [START, [act.Transaction("job", 2), A], [act.Transaction("job", 2), B]],
    ),
    "a number that goes back": (
        "transactions",
        [START, [act.Transaction("job", 2), A], [act.Transaction("job", 1), B]],
    ),
    "a lower protocol": ("protocol", [START, [act.Protocol(1, 2)]]),
    "a feature that is gone": ("protocol", [START, [act.Protocol(3, 7, frozenset(), frozenset())]]),
    "no protocol": ("protocol", [[metadata()]]),
    "no metadata": ("schema", [[PROTOCOL]]),
    "a schema that cannot be read": ("schema", [[PROTOCOL, metadata("{")]]),
    "a partition column that is not in the schema": (
        "schema",
        [START, [metadata(INT, ("p",))]],
    ),
    "other partition columns under old files": (
        "partitions",
        [[PROTOCOL, metadata(PARTITIONED)], [A], [metadata(PARTITIONED, ("p",))]],
    ),
    "a file without its partition value": (
        "partitions",
        [[PROTOCOL, metadata(PARTITIONED, ("p",))], [A]],
    ),
    "a commit without its time": ("timestamps", [[info(inCommitTimestamp=5), PROTOCOL, ICT], [A]]),
    "a commit with its time at the end": (
        "timestamps",
        [[info(inCommitTimestamp=5), PROTOCOL, ICT], [A, info(inCommitTimestamp=6)]],
    ),
    "a time that stands still": (
        "timestamps",
        [[info(inCommitTimestamp=5), PROTOCOL, ICT], [info(inCommitTimestamp=5), A]],
    ),
    "a row removed for good": (
        "append-only",
        [[PROTOCOL, metadata(delta_appendOnly="true")], [A], [remove(A)]],
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_each_damage_is_found_and_by_one_rule_only(damage):
    rule, history = DAMAGE[damage]
    assert set(rules(*history)) == {rule}


def test_every_rule_has_its_damage():
    on_disk = {"versions", "unreadable", "checkpoint", "compaction", "hint", "files"}
    assert on_disk | {rule for rule, _ in DAMAGE.values()} == set(get_args(Rule))


def test_a_contradiction_in_one_commit_is_found():
    assert "once" in rules(START, [A], [A, remove(A)])
    assert "once" in rules(START, [A, A])
    assert "once" in rules(START, [A], [remove(A), remove(A)])


def test_unknown_row_counts_are_not_passed_in_silence():
    history = [START, [A], [remove(A, change=False), add("c", change=False, stats=False)]]
    assert (rules(*history), notes(*history)) == ([], ["rows"])


def test_a_refreshed_file_is_noted_only():
    assert (rules(START, [A], [add("a", 2, change=False)]), notes(START, [A], [C])) == ([], [])
    assert notes(START, [A], [add("a", 2, change=False)]) == ["adds"]


# A table on disk, and every way to damage its files ----------------------------------------------


@pytest.fixture
def table(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        table = lake.create_table("bronze.t", {"n": "BIGINT", "p": "VARCHAR"}, partition_by="p")
        for number in range(11):
            table.append([{"n": number, "p": "x"}], idempotency_key=("job", number))
        table.rewrite(table.files()["path"].to_pylist()[:3])
        lake.settle()  # the checkpoint is there
        assert lint(table.uri) == []
        yield table


def log(table, name=""):
    return Path(table.uri) / "_delta_log" / name


def rewrite_commit(table, version, change):
    path = Path(table.uri) / commit_path(version)
    path.write_bytes(to_lines(change(from_lines(path.read_bytes(), where="test"))))


def test_missing_versions(table):
    log(table, f"{5:020d}.json").unlink()
    found = lint(table.uri)
    assert [(finding.rule, finding.version) for finding in found] == [("versions", 5)]
    log(table, f"{10:020d}.checkpoint.parquet").unlink()
    assert {"versions", "hint"} == {finding.rule for finding in lint(table.uri)}


def test_an_expired_log_is_clean(table):
    for version in range(8):
        log(table, f"{version:020d}.json").unlink()
    assert lint(table.uri) == []
    for version in range(8, 11):
        log(table, f"{version:020d}.json").unlink()
    assert lint(table.uri) == []


def test_a_commit_that_is_no_json(table):
    log(table, f"{12:020d}.json").write_text("{")
    assert [f.rule for f in lint(table.uri) if f.version == 12] == ["unreadable"]


def test_files_that_are_missing_or_of_another_size(table):
    live = table.files()["path"].to_pylist()
    (Path(table.uri) / live[0]).unlink()
    with (Path(table.uri) / live[1]).open("ab") as file:
        file.write(b"x")
    assert sorted((f.rule, f.path) for f in lint(table.uri)) == sorted(
        [("files", live[0]), ("files", live[1])]
    )


@pytest.mark.parametrize(
    ("says", "change"),
    [
        ("lacks 1 live files", lambda actions: [*actions, add("z", partition="x")]),
        ("otherwise", lambda actions: [_bigger(action) for action in actions]),
        ("other metadata", lambda actions: [_renamed(action) for action in actions]),
        ("app transactions", lambda actions: [_promoted(action) for action in actions]),
        ("domain metadata", lambda actions: [*actions, act.DomainMetadata("d", "{}")]),
        ("another protocol", lambda actions: [*actions, act.Protocol(1, 3)]),
    ],
)
def test_a_checkpoint_that_says_something_else(table, says, change):
    # The log is changed below the checkpoint, which is the same as the other way round.
    rewrite_commit(table, 0 if says == "other metadata" else 10, change)
    found = [f for f in lint(table.uri) if f.rule == "checkpoint"]
    assert [f for f in found if says in f.message], found
    assert {f.version for f in found} == {10}


def test_a_checkpoint_that_cannot_be_read(table):
    log(table, f"{10:020d}.checkpoint.parquet").write_bytes(b"PAR1")
    assert [(f.rule, f.version) for f in lint(table.uri)] == [("unreadable", 10)]


def test_a_hint_at_nothing(table):
    log(table, "_last_checkpoint").write_text('{"version": 7}')
    assert [f.rule for f in lint(table.uri)] == ["hint"]


def compact(table, change=lambda actions: actions):
    """Write the compaction file of versions 1 to 5, as another engine would."""
    commits = [
        from_lines((Path(table.uri) / commit_path(version)).read_bytes(), where="test")
        for version in range(1, 6)
    ]
    net: list[act.Action] = [a for c in commits for a in c if isinstance(a, act.AddFile)]
    net += [a for a in commits[-1] if isinstance(a, act.Transaction)]
    log(table, f"{1:020d}.{5:020d}.compacted.json").write_bytes(to_lines(change(net)))


def test_a_compacted_log_stands_for_its_commits(table):
    compact(table)
    assert lint(table.uri) == []
    for version in range(1, 6):
        log(table, f"{version:020d}.json").unlink()
    assert lint(table.uri) == []


@pytest.mark.parametrize(
    ("says", "change"),
    [
        ("lacks 1 live files", lambda actions: actions[1:]),
        ("removes other files", lambda actions: [*actions, remove(A)]),
        ("app transactions", lambda actions: [_promoted(action) for action in actions]),
    ],
)
def test_a_compacted_log_that_says_something_else(table, says, change):
    compact(table, change)
    (finding,) = lint(table.uri)
    assert (finding.rule, finding.version, says in finding.message) == ("compaction", 5, True)


def test_findings_say_where():
    assert str(Finding("rows", "one is missing", 3)) == "version 3: one is missing (rows)"


def _bigger(action):
    if isinstance(action, act.AddFile):
        return act.AddFile(action.path, action.partition_values, 7, 1, True, action.stats)
    return action


def _renamed(action):
    return act.Metadata("other", *_rest(action)) if isinstance(action, act.Metadata) else action


def _rest(action):
    return action.schema_string, action.partition_columns, action.configuration


def _promoted(action):
    return act.Transaction("job", 99) if isinstance(action, act.Transaction) else action
