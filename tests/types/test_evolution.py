"""Any sequence of writes, at every version, equals a model of dicts: in ours, delta-rs, Polars."""

import datetime as dt
import tempfile

import deltalake
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import lakehouse
from tests.types.engines import PEERS, comparable, effort, new_table, ours

TYPES = {
    "BIGINT": pa.int64(), "VARCHAR": pa.string(), "DOUBLE": pa.float64(),
    "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"), "STRUCT(x BIGINT)": pa.struct([("x", pa.int64())]),
    "DECIMAL(20,2)": pa.decimal128(20, 2),
}  # fmt: skip
NAMES = ("a", "b c", "filename", "Ünï")


def cells(type_):
    if type_ == "BIGINT":
        return st.integers(-5, 5)
    if type_ == "VARCHAR":
        return st.sampled_from(["", "x", "it's", "é" * 40])
    if type_ == "DOUBLE":
        return st.sampled_from([0.0, 1.5, float("nan")])
    if type_ == "TIMESTAMPTZ":
        return st.datetimes(timezones=st.just(dt.UTC))
    if type_.startswith("STRUCT"):
        return st.fixed_dictionaries({"x": st.none() | st.integers(0, 3)})
    return st.decimals(-10, 10, places=2)


class Versions(RuleBasedStateMachine):
    """The model is a list: of each version, its columns (name to type) and its rows (dicts)."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.lake = lakehouse.connect(self.folder.name, durable=False)
        self.model: list[tuple[dict[str, str], list[dict]]] = []

    @initialize(partitioned=st.booleans())
    def create(self, partitioned):
        self.columns = {"p": "BIGINT", "v": "BIGINT"}
        self.table = self.lake.create_table(
            "bronze.t", self.columns, partition_by=["p"] if partitioned else []
        )
        # A second reader, who learns of every commit from the log.
        self.other_folder = tempfile.TemporaryDirectory()
        self.other_lake = lakehouse.connect(self.other_folder.name, durable=False)
        self.other = self.other_lake.register_table("bronze.other", self.table.uri)
        self.model.append((self.columns, []))

    def draw_rows(self, data, columns):
        row = {name: st.none() | cells(type_) for name, type_ in columns.items()}
        return data.draw(st.lists(st.fixed_dictionaries(row), min_size=1, max_size=4))

    def arrow(self, rows, columns):
        schema = pa.schema([(name, TYPES[type_]) for name, type_ in columns.items()])
        return pa.Table.from_pylist(rows, schema=schema)

    @rule(data=st.data(), fewer=st.booleans())
    def append(self, data, fewer):
        columns, rows = self.model[-1]
        names = [name for name in columns if not fewer or name in ("p", "v")]
        given = self.draw_rows(data, {name: columns[name] for name in names})
        report = self.table.append(self.arrow(given, {name: columns[name] for name in names}))
        self.model.append((columns, rows + given))
        assert (report.version, report.rows) == (len(self.model) - 1, len(given))

    @precondition(lambda self: len(self.model[-1][0]) < 5)
    @rule(data=st.data(), type_=st.sampled_from(list(TYPES)), overwrite=st.booleans())
    def add_a_column(self, data, type_, overwrite):
        columns, rows = self.model[-1]
        name = data.draw(st.sampled_from([name for name in NAMES if name not in columns]))
        wider = {**columns, name: type_}
        given = self.draw_rows(data, wider)
        with pytest.raises(lakehouse.DataError):
            self.table.append(self.arrow(given, wider))
        write = self.table.overwrite if overwrite else self.table.append
        write(self.arrow(given, wider), schema_mode="add")
        self.model.append((wider, given if overwrite else rows + given))

    @rule(data=st.data())
    def overwrite(self, data):
        columns, _ = self.model[-1]
        given = self.draw_rows(data, columns)
        self.table.overwrite(self.arrow(given, columns))
        self.model.append((columns, given))

    @rule(data=st.data(), type_=st.sampled_from(list(TYPES)))
    def overwrite_the_schema(self, data, type_):
        columns = {"p": "BIGINT", "w": type_}
        given = self.draw_rows(data, columns)
        try:
            self.table.overwrite(self.arrow(given, columns), schema_mode="overwrite")
        except lakehouse.UnsupportedError:
            return
        self.model.append((columns, given))

    @rule(data=st.data())
    def restore(self, data):
        version = data.draw(st.integers(0, len(self.model) - 1))
        report = self.table.restore(version)
        if report.version == len(self.model):
            self.model.append(self.model[version])
        else:  # there was nothing to do
            assert report.version == len(self.model) - 1
            assert self.expected(version) == self.expected(report.version)

    @rule(data=st.data())
    def look_back(self, data):
        version = data.draw(st.integers(0, len(self.model) - 1))
        columns, _ = self.model[version]
        past = self.table.read(version=version).to_arrow_table()
        assert past.schema.names == list(columns)
        assert comparable(past) == self.expected(version)
        sql = f"SELECT * FROM bronze.t AT (VERSION => {version})"
        assert comparable(self.lake.sql(sql).to_arrow_table()) == self.expected(version)
        handle = deltalake.DeltaTable(self.table.uri, version=version)
        builder = deltalake.QueryBuilder().register("t", handle)
        theirs = pa.table(builder.execute("SELECT * FROM t").read_all())
        assert comparable(theirs.select(list(columns))) == self.expected(version)
        frame = pl.read_delta(self.table.uri, version=version).to_arrow()
        assert comparable(frame.select(list(columns))) == self.expected(version)

    @invariant()
    def the_newest_version_is_the_model(self):
        version = len(self.model) - 1
        assert self.table.version == version
        assert comparable(ours(self.table)) == self.expected(version)
        assert self.table.detail().rows == len(self.model[-1][1])
        assert comparable(ours(self.other)) == self.expected(version)

    def expected(self, version):
        columns, rows = self.model[version]
        filled = [{name: row.get(name) for name in columns} for row in rows]
        return comparable(self.arrow(filled, columns))

    def teardown(self):
        self.lake.close()
        self.folder.cleanup()
        self.other_lake.close()
        self.other_folder.cleanup()


TestVersions = Versions.TestCase
TestVersions.settings = settings(effort(0.08), stateful_step_count=10)


def test_old_files_read_null_in_new_columns_everywhere(lake):
    table = new_table(lake, {"a": "BIGINT"})
    table.append([{"a": 1}])
    table.append([{"a": 2, "b": {"x": 1}, "c d": "new"}], schema_mode="add")
    table.append([{"a": 3}])
    expected = [
        {"a": 1, "b": None, "c d": None},
        {"a": 2, "b": {"x": 1}, "c d": "new"},
        {"a": 3, "b": None, "c d": None},
    ]
    for read in (ours, *PEERS.values()):
        assert sorted(read(table).to_pylist(), key=lambda row: row["a"]) == expected
    for where, rows in (
        ("\"c d\" = 'new'", [2]),
        ('"c d" IS NULL', [1, 3]),
        ("b.x IS NULL", [1, 3]),
    ):
        found = table.read(columns=["a"], where=where).fetchall()
        assert sorted(row[0] for row in found) == rows


def test_a_new_column_may_not_be_of_a_type_that_delta_lacks(lake):
    table = new_table(lake, {"a": "BIGINT"})
    with pytest.raises(lakehouse.InputError, match="TIME"):
        table.append(lake.sql("SELECT 1::BIGINT AS a, TIME '12:00' AS t"), schema_mode="add")
    assert table.version == 0
