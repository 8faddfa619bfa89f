"""Logs that cannot be trusted: a typed error that names what is wrong, or the right rows.

Each case damages one sound table (tests/delta/hostile.py). What it must come to stands beside
it; decision 15 says why.
"""

import contextlib
import json
import os
import shutil
from typing import Any

import pytest
from typer.testing import CliRunner

import lakehouse
from lakehouse import CorruptionError, LakehouseError, NotFoundError, StorageError, UnsupportedError
from lakehouse.cli import app, health
from tests.delta.hostile import ROWS, Log, add, build, column, metadata, remove, schema, vector

CASES: list[Any] = []
DEEP = '{"add":' + '{"x":' * 300 + "1" + "}" * 300 + "}"
DEEPER = '{"add":' + "[" * 100_000 + "]" * 100_000 + "}"
V3 = {"minReaderVersion": 3, "minWriterVersion": 7}
VECTORS = {"protocol": {**V3, "readerFeatures": ["deletionVectors"],
                        "writerFeatures": ["deletionVectors"]}}  # fmt: skip


def case(name, damage, expected, words=""):
    """Note a case: the rows that are right, or the error's class and words of its message."""
    CASES.append(pytest.param(damage, expected, words, id=name))


def line(name, *lines, error=CorruptionError, words, at=3):
    """Note a case in which version 3 is wrong, and the message says so."""
    expected = f"{at:020d}.json" if error is CorruptionError else ""
    case(name, lambda log: log.write(at, *lines), error, rf"(?s){expected}.*{words}")


def fine(name, *lines, rows=ROWS):
    """Note a case in which version 3 is odd, and is tolerated."""
    case(name, lambda log: log.write(3, *lines), rows)


# Text that is no line of a log
line("not json", "nonsense", words="line 1")
line("half a line", '{"add":{"path":"p=x/', words="line 1")
line("second line cut", add("x"), '{"remove":', words="line 2")
line("empty file", words="empty")
line("only blank lines", "", "  ", words="empty")
line("an array", "[1]", words="object")
line("a number", "7", words="object")
line("a string", '"add"', words="object")
line("null", "null", words="object")
line("an empty object", "{}", words="one action")
line("a null action", '{"add":null}', words="one action")
line("two actions on a line", {**add("x"), **remove("y")}, words="one action")
line("an action that is a list", '{"add":[]}', words="add is not an object")
line("NaN", '{"commitInfo":{"x":NaN}}', words="NaN")
line("infinity", '{"commitInfo":{"x":-Infinity}}', words="Infinity")
line("a key twice", '{"add":{"path":"a","path":"b"}}', words="'path' occurs twice")
line("an action twice on a line", '{"commitInfo":{},"commitInfo":{}}', words="occurs twice")
line("not utf-8", b'{"commitInfo":{"x":"\xff"}}', words="utf-8")
line("utf-16", '{"commitInfo":{}}'.encode("utf-16"), words="utf-8")
line("byte order mark", b"\xef\xbb\xbf" + b'{"commitInfo":{}}', words="Expecting value")
line("half a surrogate pair", '{"commitInfo":{"x":"\\ud800"}}', words="surrogate")
line("half a pair in a path", json.dumps(add("x", path="\ud800")), words="surrogate")
line("nested too deep", DEEP, words="deep")
line("nested past the stack", DEEPER, words="line 1")
line("a number of 5000 digits", '{"commitInfo":{"x":' + "9" * 5000 + "}}", words="line 1")
line("control character in text", b'{"commitInfo":{"x":"a\x00b"}}', words="control")
fine("crlf and blank lines", b'{"commitInfo":{}}\r', "", "  \t")
fine("no newline at the end", b'{"commitInfo":{}}\n{"commitInfo":{}}')
fine("an unknown action", {"futureThing": {"x": [1]}})
fine("unknown fields", add("y", futureField={"x": 1}))
fine("null beside an action", {**add("y"), "remove": None})
fine("a commit of nothing but its origin", {"commitInfo": {"operation": 5, "userName": [1]}})

# Values of the wrong type
for field in ("path", "partitionValues", "size", "modificationTime"):
    line(f"add without {field}", add("y", **{field: ...}), words=f"'{field}' is missing")
line("size is negative", add("y", size=-1), words="-1")
line("size is text", add("y", size="500"), words="'500'")
line("size is a fraction", add("y", size=1.5), words="1.5")
line("size is true", add("y", size=True), words="True")
line("size is beyond reason", add("y", size=2**62), words="count")
line("size of 30 digits", add("y", size=10**30), words="count")
line("time of 30 digits", add("y", modificationTime=10**30), words="64 bits")
line("dataChange is text", add("y", dataChange="false"), words="'false'")
line("path is a number", add("y", path=5), words="text expected")
line("stats is an object", add("y", stats={"numRecords": 1}), words="text expected")
line("partition value is a number", add("y", partitionValues={"p": 5}), words="text expected")
line("partition values are a list", add("y", partitionValues=[]), words="partitionValues")
line("remove of a number", remove("y", path=1), words="text expected")
line("txn version is text", {"txn": {"appId": "a", "version": "1"}}, words="64 bits")
line("txn without id", {"txn": {"version": 1}}, words="'appId' is missing")
line("in-commit timestamp is text", {"commitInfo": {"inCommitTimestamp": "x"}}, words="64 bits")
line("in-commit timestamp is no time", {"commitInfo": {"inCommitTimestamp": 2**62}}, words="epoch")
fine("dataChange is missing", add("y", dataChange=...))

# Paths
for name, path in {
    "absolute": "/etc/passwd", "of another scheme": "s3://bucket/x", "a file URI": "file:///etc/x",
    "leaving": "../x.parquet", "leaving encoded": "p=x/%2e%2e/%2e%2e/x", "not normalised": "./p=y/a",
    "with a drive": "C:/x", "with a backslash": "p=y\\a.parquet", "with NUL": "p=y/a%00.parquet",
    "in the log": "_delta_log/00000000000000000000.json", "in the catalog": "_catalog/1.json",
}.items():  # fmt: skip
    case(f"path {name}", lambda log, path=path: log.write(3, add("y", path=path)),
         CorruptionError, "the log names data file")  # fmt: skip
line("path is empty", add("y", path=""), words="path is empty")
line("path is no uri", add("y", path="p=y/%zz"), words="hexadecimal")
line("path is not utf-8", add("y", path="p=y/%ff"), words="UTF-8")
line("remove of no uri", remove("y", path="%f"), words="hexadecimal")
line("change file of no uri", {"cdc": {"path": "%f"}}, words="hexadecimal")
fine("a removed path leads out", remove("y", path="../../x"))
case("the same file under another encoding",
     lambda log: log.write(3, add("y", path="%70=y/a.parquet")), ROWS)  # fmt: skip

# Actions that contradict each other
line("a file twice in a commit", add("y"), add("y"), words="adds 'p=y/a.parquet' twice")
line("twice, encoded", add("y"), add("y", path="p%3Dy/a.parquet"), words="twice")
line("added and removed", add("y"), remove("y"), words="adds and removes")
line("removed twice", remove("y"), remove("y"), words="removes 'p=y/a.parquet' twice")
line("two metadata", metadata(), metadata(), words="two metadata")
line("two protocols", VECTORS, VECTORS, words="two protocol")
line("a file with two vectors", add("x", deletionVector=vector()), add("x"), words="twice")
fine("remove of what was never there", remove("z"))
fine("added again", add("y"))
case("live with and without a vector",
     lambda log: log.write(3, VECTORS, add("x", deletionVector=vector())),
     CorruptionError, "p=x/a.parquet' twice")  # fmt: skip
fine("a vector in place of none", VECTORS, remove("x"), add("x", deletionVector=vector()),
     rows=ROWS[1:])  # fmt: skip

# Statistics are the writer's claims: where they are none, they are unknown
for name, stats in {
    "not json": "{", "empty text": "", "a list": "[1]", "of another type": '{"numRecords":"x"}',
    "negative": '{"numRecords":-7}', "huge": '{"numRecords":99999999999999999999999}',
    "bounds of another type": '{"numRecords":1,"minValues":{"n":"x"},"maxValues":{"n":[]}}',
    "bounds that are no object": '{"minValues":7,"nullCount":"x"}', "a fraction": '{"numRecords":1.5}',
}.items():  # fmt: skip
    fine(f"statistics are {name}", add("y", stats=stats))

# Partition values
fine("partition value missing", add("y", partitionValues={}), rows=[*ROWS[:2], (3, None)])
fine("partition value null", add("y", partitionValues={"p": None}), rows=[*ROWS[:2], (3, None)])
fine("a partition value too many", add("y", partitionValues={"p": "y", "q": "1"}))
case("a partition value that does not fit",
     lambda log: log.write(0, {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
                           metadata(schemaString=schema(column("n", "long"), column("p", "date")))),
     CorruptionError, "partition value 'x' in column 'p'")  # fmt: skip

# Deletion vectors
for name, found, words in (
    ("cardinality is negative", vector(cardinality=-1), "count"),
    ("size is negative", vector(sizeInBytes=-1), "count"),
    ("offset is negative", vector(offset=-4), "count"),
    ("without its type", vector(storageType=...), "'storageType' is missing"),
    ("is not an object", 5, "deletionVector is not an object"),
):
    line(f"vector {name}", VECTORS, remove("x"), add("x", deletionVector=found), words=words)
VECTOR_CASES: list[Any] = [
    ("holds other than it says", {"cardinality": 2}, CorruptionError, "holds 1 rows"),
    ("holds more rows than its file", {"cardinality": 9}, CorruptionError, "p=x/a.parquet' has 2"),
    ("holds too many rows", {"cardinality": 2**40}, CorruptionError, "deletion vector"),
    ("is cut", {"sizeInBytes": 9}, CorruptionError, "damaged"),
    ("is no base 85", {"pathOrInlineDv": "é"}, CorruptionError, "inline"),
    ("leads out", {"storageType": "u", "pathOrInlineDv": "../" + "0" * 20}, CorruptionError, "prefix"),
    ("has no name", {"storageType": "u", "pathOrInlineDv": "x"}, CorruptionError, "'x'"),
    ("is not there", {"storageType": "u", "pathOrInlineDv": "0" * 20}, StorageError, "no such file"),
    ("is absolute", {"storageType": "p", "pathOrInlineDv": "/etc/x"}, UnsupportedError, "absolute"),
    ("is of no known kind", {"storageType": "z"}, UnsupportedError, "'z'"),
]  # fmt: skip
for name, fields, error, words in VECTOR_CASES:
    numbers: Any = '{"numRecords":2}' if "more" in name else ...
    action = add("x", stats=numbers, deletionVector=vector(**fields))
    case(f"vector {name}", lambda log, action=action: log.write(3, VECTORS, remove("x"), action),
         error, words)  # fmt: skip


def protocol(name, values, error, words):
    """Note a case of a protocol in version 3."""
    line(f"protocol {name}", {"protocol": values}, error=error, words=words)


protocol("3 without features", V3, CorruptionError, "readerFeatures")
protocol("7 without features", {"minReaderVersion": 1, "minWriterVersion": 7}, CorruptionError,
         "writerFeatures")  # fmt: skip
protocol("1 with features", {"minReaderVersion": 1, "minWriterVersion": 2,
                             "readerFeatures": ["deletionVectors"]},
         CorruptionError, "cannot have")  # fmt: skip
protocol("of the future", {**V3, "minReaderVersion": 99, "writerFeatures": []}, UnsupportedError,
         "99")  # fmt: skip
protocol("with a future feature", {**V3, "readerFeatures": ["warp"], "writerFeatures": ["warp"]},
         UnsupportedError, "warp")  # fmt: skip
protocol("of text", {"minReaderVersion": "1", "minWriterVersion": 2}, CorruptionError, "count")
protocol("with features of text", {**V3, "readerFeatures": "x", "writerFeatures": []},
         CorruptionError, "list")  # fmt: skip


# Schemas
def shape(name, text, error=CorruptionError, words="schema", **fields):
    """Note a case of another schema in version 3."""
    case(
        f"schema {name}",
        lambda log: log.write(3, metadata(schemaString=text, **fields)),
        error,
        words,
    )


N, P = column("n", "long"), column("p", "string")
ID, STORED = "delta.columnMapping.id", "delta.columnMapping.physicalName"
nested: Any = "long"
for _ in range(250):
    nested = {"type": "array", "elementType": nested, "containsNull": True}
shape("not json", "{", words="schema cannot be parsed")
shape("of a list", "[]")
shape("of a type", '"long"', words="not a struct")
shape("without fields", '{"type":"struct"}')
shape("with a column twice", schema(N, N, P), words="two columns are named 'n'")
shape("with a column in two cases", schema(N, column("N", "long"), P), words="named 'n'")
shape("with a nested field twice", schema(N, P, column("s", json.loads(schema(N, N)))), words="'n'")
shape("with an id twice", schema(column("n", "long", **{ID: 1}), column("p", "string", **{ID: 1})),
      words="id 1")  # fmt: skip
shape("with a stored name twice",
      schema(column("n", "long", **{STORED: "c"}), column("p", "string", **{STORED: "c"})),
      words="stored as 'c'")  # fmt: skip
shape("with an id of text", schema(column("n", "long", **{ID: "x"}), P))
shape("with metadata of text", schema({**N, "metadata": "x"}, P))
shape("without a name", schema(column("", "long"), P), words="no name")
shape("with NUL in a name", schema(column("a\0", "long"), P), words="NUL")
shape("of an unknown type", schema(column("n", "warp"), P), UnsupportedError, "warp")
shape("of an unknown kind", schema(column("n", {"type": "warp"}), P), UnsupportedError, "warp")
shape("of an impossible decimal", schema(column("n", "decimal(99,2)"), P), words="range")
shape("nested past reason", schema(N, P, column("s", nested)))
shape("without its partition column", schema(N), words="partition column 'p'")
shape("partitioned by a list", schema(column("p", {"type": "array", "elementType": "long"}), N),
      words="partition column 'p'")  # fmt: skip
line("partitioned twice by a column", metadata(partitionColumns=["p", "p"]), words="twice")
line("metadata without schema", metadata(schemaString=...), words="'schemaString' is missing")
line("metadata of csv", metadata(format={"provider": "csv"}), words="csv")
line("property is a number", metadata(configuration={"delta.x": 1}), words="text expected")
line("created at no time", metadata(createdTime=2**62), words="epoch")
line("named by a list", metadata(name=["x"]), words="text expected")


# Which files there are
def log_case(name, expected, words=""):
    """Note a case: the decorated function damages the log."""

    def note(damage):
        case(name, damage, expected, words)
        return damage

    return note


@log_case("version 0 without metadata", CorruptionError, "no metadata")
def _version_0_without_metadata(log):
    log.write(0, {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}})


@log_case("version 0 without protocol", CorruptionError, "no protocol")
def _version_0_without_protocol(log):
    log.write(0, metadata())


@log_case("a gap", CorruptionError, "version 1 is missing")
def _a_gap(log):
    log.file(1).unlink()


@log_case("a version in other letters", CorruptionError, "version 1 is missing")
def _a_version_in_other_letters(log):
    log.file(1).rename(log.file(f"{1:020d}.JSON"))


@log_case("a version in other digits", CorruptionError, "version 1 is missing")
def _a_version_in_other_digits(log):
    log.file(1).rename(log.file("\u0660" * 19 + "\u0661.json"))


@log_case("the largest version", CorruptionError, "version 3 is missing")
def _the_largest_version(log):
    shutil.copy(log.file(2), log.file("9" * 20 + ".json"))


@log_case("a commit that is a folder", ROWS[:2])
def _a_commit_that_is_a_folder(log):
    log.file(2).unlink()
    log.file(2).mkdir()


@log_case("a commit in the middle that is a folder", CorruptionError, "version 1 is missing")
def _a_commit_in_the_middle_that_is_a_folder(log):
    log.file(1).unlink()
    log.file(1).mkdir()


@log_case("a commit that is a pipe", CorruptionError, "pipe")
def _a_commit_that_is_a_pipe(log):
    log.file(2).unlink()
    os.mkfifo(log.file(2))


@log_case("no commits", NotFoundError, "not a Delta table")
def _no_commits(log):
    shutil.rmtree(log.root / "_delta_log")


@log_case("other files in the log", ROWS)
def _other_files_in_the_log(log):
    for name in ("x", "00.json", "-0000000000000000001.json", f"{9:020d}.json.tmp", ".tmp-x",
                 f"{9:020d}.crc", f"{2:020d}.checkpoint.0000000001.9999999999.parquet"):  # fmt: skip
        log.write(name, "nonsense")


for name, text in {
    "garbage": "\0\1{", "empty": "", "a list": "[]", "negative": '{"version":-1}', "huge":
    '{"version":' + "9" * 40 + "}", "of text": '{"version":"2"}', "a fraction": '{"version":1.0}',
    "true": '{"version":true}', "to nothing": '{"version":1}', "newer than the log":
    '{"version":99}', "deep": "[" * 100_000,
}.items():  # fmt: skip
    case(
        f"last checkpoint {name}", lambda log, text=text: log.write("_last_checkpoint", text), ROWS
    )


@log_case("last checkpoint is a folder", StorageError, "folder")
def _last_checkpoint_is_a_folder(log):
    log.file("_last_checkpoint").mkdir()


# Checkpoints: a bad one is passed over where the log is whole
BAD = {
    "with a file twice": ("p=x/a.parquet' twice", "FROM whole UNION ALL BY NAME FROM whole WHERE add.path LIKE 'p=x%'"),
    "with two metadata rows": ("2 metadata", "FROM whole UNION ALL BY NAME FROM whole WHERE metaData.id IS NOT NULL"),
    "without metadata": ("0 metadata", "FROM whole WHERE metaData.id IS NULL"),
    "without protocol": ("0 protocol", "SELECT * EXCLUDE (protocol) FROM whole"),
    "with add of text": ("add is no struct", "SELECT * REPLACE ('x' AS add) FROM whole"),
    "with size of text": ("other types|read the checkpoint", "SELECT * REPLACE (struct_update(add, size := 'x') AS add) FROM whole"),
    "with a negative size": ("size of -1", "SELECT * REPLACE (CASE WHEN add.path IS NOT NULL THEN "
    "struct_update(add, size := -1) END AS add) FROM whole"),
    "with a path that leaves": ("not inside", "SELECT * REPLACE (CASE WHEN add.path IS NOT NULL THEN "
    "struct_update(add, path := '../' || add.path) END AS add) FROM whole"),
    "with paths of no utf-8": ("UTF", "SELECT * REPLACE (CASE WHEN add.path IS NOT NULL THEN "
    "struct_update(add, path := '%ff') END AS add) FROM whole"),
    "with values of a list": ("other types|read the checkpoint", "SELECT * REPLACE (CASE WHEN add.path IS NOT NULL THEN "
    "struct_update(add, partitionValues := [1]) END AS add) FROM whole"),
    "without sizes": ("no ", "SELECT * REPLACE (CASE WHEN add.path IS NOT NULL THEN "
    "struct_pack(path := add.path) END AS add) FROM whole"),
    "with metadata of numbers": ("text expected", "SELECT * REPLACE (CASE WHEN metaData.id IS NOT NULL THEN "
    "struct_update(metaData, schemaString := 5) END AS metaData) FROM whole"),
    "of nothing": ("0 metadata", "FROM whole WHERE false"),
    "of another version": ("of version 1", "SELECT *, NULL::STRUCT(version BIGINT) AS checkpointMetadata FROM whole "
    "UNION ALL BY NAME SELECT {'version': 1} AS checkpointMetadata"),
    "with a sidecar outside": ("_sidecars", "SELECT *, NULL::STRUCT(path VARCHAR) AS sidecar FROM whole "
    "UNION ALL BY NAME SELECT {'path': '../../x.parquet'} AS sidecar"),
    "with a pattern for a sidecar": ("_sidecars", "SELECT *, NULL::STRUCT(path VARCHAR) AS sidecar FROM whole "
    "UNION ALL BY NAME SELECT {'path': '*.parquet'} AS sidecar"),
    "with a sidecar without path": ("_sidecars", "SELECT *, NULL::STRUCT(path VARCHAR) AS sidecar FROM whole "
    "UNION ALL BY NAME SELECT {'path': NULL, 'size': 1} AS sidecar"),
    "with a sidecar that is gone": ("gone.parquet", "SELECT *, NULL::STRUCT(path VARCHAR) AS sidecar FROM whole "
    "UNION ALL BY NAME SELECT {'path': 'gone.parquet'} AS sidecar"),
}  # fmt: skip
for name, (words, sql) in BAD.items():
    kind = LakehouseError if "gone" in name else CorruptionError
    case(f"checkpoint {name}", lambda log, sql=sql: log.checkpoint(sql), kind, words)
    case(f"checkpoint {name}, beside its log",
         lambda log, sql=sql: log.checkpoint(sql, keep_json=True), ROWS)  # fmt: skip


@log_case("checkpoint sound", ROWS)
def _checkpoint_sound(log):
    log.checkpoint()


@log_case("checkpoint with statistics of no json", ROWS)
def _checkpoint_with_statistics_of_no_json(log):
    log.checkpoint("SELECT * REPLACE (CASE WHEN add.path IS NOT NULL THEN "
                   "struct_update(add, stats := 'x') END AS add) FROM whole")  # fmt: skip


@log_case("checkpoint cut off", CorruptionError, "checkpoint")
def _checkpoint_cut_off(log):
    log.checkpoint()
    file = log.file(f"{2:020d}.checkpoint.parquet")
    file.write_bytes(file.read_bytes()[:-30])


@log_case("checkpoint with a part missing", NotFoundError, "expired")
def _checkpoint_with_a_part_missing(log):
    log.checkpoint()
    file = log.file(f"{2:020d}.checkpoint.parquet")
    file.rename(log.file(f"{2:020d}.checkpoint.0000000001.0000000002.parquet"))
    log.write(3, remove("x"))


# Links
for name in ("p=y/a.parquet", "p=y", "_delta_log", "_delta_log/00000000000000000002.json"):
    case(f"link out at {name}", lambda log, name=name: log.link_out(name), CorruptionError, "link")


@log_case("checkpoint behind a link", CorruptionError, "link")
def _checkpoint_behind_a_link(log):
    log.checkpoint()
    log.link_out(f"_delta_log/{2:020d}.checkpoint.parquet")


@log_case("links inside", ROWS)
def _links_inside(log):
    (log.root / "p=y").rename(log.root / "elsewhere")
    (log.root / "p=y").symlink_to("elsewhere")
    (log.root / "p=x/a.parquet").rename(log.root / "p=x/b.parquet")
    (log.root / "p=x/a.parquet").symlink_to(log.root / "p=x/b.parquet")


@log_case("a data file that is a pipe", CorruptionError, "pipe")
def _a_data_file_that_is_a_pipe(log):
    (log.root / "p=y/a.parquet").unlink()
    os.mkfifo(log.root / "p=y/a.parquet")


@log_case("a data file that is gone", StorageError, "p=y/a.parquet")
def _a_data_file_that_is_gone(log):
    (log.root / "p=y/a.parquet").unlink()


@log_case("the root is a link", ROWS)
def _the_root_is_a_link(log):
    log.root.rename(log.root.with_name("behind"))
    log.root.symlink_to("behind")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound") / "table"
    build(folder)
    return folder


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    with lakehouse.connect(tmp_path_factory.mktemp("lake"), durable=False) as lake:
        yield lake


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    with lakehouse.connect(tmp_path_factory.mktemp("other"), durable=False) as other:
        yield other


@pytest.fixture
def log(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "table")
    return Log(tmp_path / "table")


@pytest.fixture
def table(lake, log):
    lake.register_table("bronze.t", log.root)
    yield lake.table("bronze.t")
    lake.drop_table("bronze.t")


@pytest.mark.parametrize(("damage", "expected", "words"), CASES)
def test_a_hostile_log_gives_a_typed_error_or_the_right_rows(
    lake, other, log, table, damage, expected, words
):
    damage(log)
    if isinstance(expected, list):
        for read in (table.read, lambda: lake.sql("FROM bronze.t")):
            assert sorted(read().fetchall(), key=repr) == expected
        assert health.examine(lake, lake.tables()[0]).version is not None
    else:
        for read in (table.read, lambda: lake.sql("FROM bronze.t"), lambda: _register(other, log)):
            with pytest.raises(LakehouseError, match=words or None) as caught:
                read().fetchall()
            assert isinstance(caught.value, expected)
    for call in (
        table.history,
        table.detail,
        lambda: table.read(where="n = 1 AND p = 'x'").fetchall(),
        lambda: table.rewrite(table.files()["path"].to_pylist()),
        lambda: table.append([{"n": 4, "p": "z"}]),
        table.checkpoint,
        lambda: health.examine(lake, lake.tables()[0]),
    ):
        _typed(call)


def _register(other, log):
    # Metadata alone may be well while the files are not.
    try:
        return other.register_table("bronze.t", log.root).read()
    finally:
        if other.tables():
            other.drop_table("bronze.t")


def _typed(call):
    with contextlib.suppress(LakehouseError):
        call()


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda log: log.write(3, "nonsense"), 1),
        (lambda log: log.write(3, add("y", path="../x")), 1),
        (lambda log: log.file(1).unlink(), 1),
        (lambda log: log.write(3, {"commitInfo": {}}), 0),
    ],
)
def test_doctor_tells_the_damaged_from_the_healthy(lake, log, table, damage, code):
    size = (log.root / "p=x/a.parquet").stat().st_size
    log.write(1, add("x", size=size))
    log.write(2, add("y", size=(log.root / "p=y/a.parquet").stat().st_size))
    damage(log)
    result = CliRunner().invoke(app, ["doctor", "--lake", lake.uri, "--json"])
    assert result.exit_code == code, result.output
