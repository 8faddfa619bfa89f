"""Parquet files with other columns in them: right for every reader, or refused."""

import contextlib
import copy
import io

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.duck import thrift
from lakehouse.write import footer
from lakehouse.write.spliced import runs, spliced

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("n", pa.int32()),
        ("s", pa.string()),
        ("l", pa.list_(pa.struct([("a", pa.int64()), ("b", pa.string())]))),
        ("f", pa.float64()),
        ("at", pa.timestamp("us", "UTC")),
        ("m", pa.map_(pa.string(), pa.decimal128(9, 2))),
    ]
)
SETS = ("id", "n", "s", "f", "at")
few = settings(max_examples=settings().max_examples // 6)


def rows_of(count, seed, nulls):
    """Return a table of so many rows; each column has NULLs, repeated and single values."""
    kinds = (seed % 3, seed % 5, 1 + seed % 700)

    def column(make):
        return [None if nulls and i % nulls == kinds[0] else make(i) for i in range(count)]

    return pa.table(
        {
            "id": column(lambda i: i * 31 + seed),
            "n": column(lambda i: i % kinds[2]),
            "s": column(lambda i: f"text {i % kinds[2]}" * kinds[1]),
            "l": column(lambda i: [{"a": i, "b": None}] * (i % 3)),
            "f": column(lambda i: i / 7),
            "at": column(lambda i: i * 1_000_003),
            "m": column(lambda i: [(f"k{i % 3}", i)]),
        },
        SCHEMA,
    )


def by_duckdb(table, path, size, codec):
    codec = {"none": "uncompressed"}.get(codec, codec)
    with duckdb.connect() as connection:
        connection.register("t", table)
        connection.execute(
            f"COPY t TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE {max(2048, size)}, CODEC {codec})"
        )


def by_pyarrow(table, path, size, codec):
    pq.write_table(
        table, path, row_group_size=size, compression=codec, write_page_index=True,
        use_dictionary=size % 2 == 0, data_page_version=f"{1 + size % 2}.0",
        sorting_columns=[pq.SortingColumn(0), pq.SortingColumn(1), pq.SortingColumn(3)],
    )  # fmt: skip


def by_polars(table, path, size, codec):
    codec = {"none": "uncompressed"}.get(codec, codec)
    pl.DataFrame(table).write_parquet(path, row_group_size=size, compression=codec)


def by_delta_rs(table, path, size, codec):
    write_deltalake(path.with_suffix(".delta"), table.drop_columns(["m"]))
    (made,) = path.with_suffix(".delta").glob("*.parquet")
    made.rename(path)


WRITERS = {"DuckDB": by_duckdb, "PyArrow": by_pyarrow, "Polars": by_polars, "delta-rs": by_delta_rs}


def read_footer(data):
    length = footer.length_of(data[-footer.END :])
    return footer.footer_of(data[-footer.END - length : -footer.END], len(data))


def assembled(made, files):
    pieces = (files[p.file][p.start : p.start + p.length] for p in made.pieces)
    return footer.MAGIC + b"".join(pieces) + made.end


def chunk_bytes(data, leaf):
    """Return the bytes of a leaf's chunks, found by PyArrow's reading of the footer."""
    meta = pq.read_metadata(io.BytesIO(data))
    found = []
    for group in range(meta.num_row_groups):
        column = meta.row_group(group).column(leaf)
        start = column.data_page_offset
        if column.has_dictionary_page:
            start = min(start, column.dictionary_page_offset)
        found.append(data[start : start + column.total_compressed_size])
    return found


@few
@given(data=st.data())
def test_columns_in_the_place_of_others(tmp_path_factory, data):
    writer = data.draw(st.sampled_from(sorted(WRITERS)))
    # Row groups that end within DuckDB's vectors are made one by one.
    count, size = data.draw(st.sampled_from([(1, 1), (300, 100), (5000, 2048), (9000, 2500)]))
    table = rows_of(count, data.draw(st.integers(0, 999)), data.draw(st.sampled_from([0, 2, 7])))
    codec = data.draw(st.sampled_from(["snappy", "zstd", "none"]))
    names = data.draw(st.lists(st.sampled_from(SETS), min_size=1, max_size=2, unique=True))
    folder = tmp_path_factory.mktemp("footer")
    path = folder / "old.parquet"
    WRITERS[writer](table, path, size, codec)
    table = pq.read_table(path).select(pq.read_schema(path).names)
    old = path.read_bytes()
    before = read_footer(old)

    other = rows_of(count, 1000, 3)
    files, new, first = [old], [], 0
    for rows in before.groups:
        part = other.select(names).slice(first, rows)
        by_duckdb(
            part, folder / "part.parquet", rows, data.draw(st.sampled_from(["snappy", "zstd"]))
        )
        files.append((folder / "part.parquet").read_bytes())
        new.append(read_footer(files[-1]))
        first += rows
    _, kept = footer.check_columns(before, dict.fromkeys(names), table.column_names, by_id=False)
    made = spliced(before, new)
    after = assembled(made, files)

    path = folder / "new.parquet"
    path.write_bytes(after)
    expected = table
    for name in names:
        expected = expected.set_column(table.column_names.index(name), name, other[name])
    found = pq.read_table(path)
    assert found.cast(expected.schema) == expected
    assert read_footer(after).groups == before.groups
    polars = pl.read_parquet(path)
    assert polars.equals(pl.DataFrame(expected).cast(polars.schema))
    with duckdb.connect() as connection:
        rows = connection.sql(f"FROM '{path}'").to_arrow_table()
        assert rows.cast(expected.schema) == expected
        for name in ("n", "s"):  # by statistics and Bloom filters
            if (value := expected[name][-1].as_py()) is not None:
                sql = f"SELECT count(*) FROM '{path}' WHERE {name} = ?"
                wanted = pc.sum(pc.equal(expected[name], value)).as_py()
                assert connection.execute(sql, [value]).fetchall() == [(wanted,)]

    # What is not replaced is there byte for byte.
    leaves = [
        pq.read_metadata(path).schema.column(i).path
        for i in range(len(pq.read_metadata(path).schema))
    ]
    same = 0
    for leaf, name in enumerate(leaves):
        if name.split(".")[0] not in names:
            assert chunk_bytes(after, leaf) == chunk_bytes(old, leaf)
            same += sum(map(len, chunk_bytes(old, leaf)))
    assert same == kept
    # And nothing else but that: no byte of what was replaced is left.
    assert len(after) <= kept + sum(len(file) for file in files[1:]) + len(made.end) + 4 + _filters(
        before
    )


def _filters(found):
    """Return how many bytes of Bloom filters a file has."""
    columns = [chunk[3][1] for group in found.meta[4][1][1] for chunk in group[1][1][1]]
    return sum(meta[15][1] for meta in columns if 14 in meta and 15 in meta)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return a file of two row groups, and one with another column `n` in one row group each."""
    folder = tmp_path_factory.mktemp("plain")
    by_pyarrow(rows_of(3000, 1, 0), folder / "old.parquet", 2000, "snappy")
    files = [(folder / "old.parquet").read_bytes()]
    for count in (2000, 1000):
        by_duckdb(rows_of(count, 2, 0).select(["n"]), folder / "new.parquet", count, "snappy")
        files.append((folder / "new.parquet").read_bytes())
    return files


def test_what_a_footer_says_of_all_columns(plain):
    before, *new = map(read_footer, plain)
    after = pq.ParquetFile(io.BytesIO(assembled(spliced(before, new), plain))).metadata
    old = pq.ParquetFile(io.BytesIO(plain[0])).metadata
    assert (old.metadata.keys(), after.metadata) == ({b"ARROW:schema"}, None)
    for number in range(2):
        was, group = old.row_group(number), after.row_group(number)
        # Rows are in the order of what stands before the column that changed.
        assert [by.column_index for by in was.sorting_columns] == [0, 1, 3]
        assert [by.column_index for by in group.sorting_columns] == [0]
        columns = [group.column(i) for i in range(group.num_columns)]
        assert group.total_byte_size == sum(c.total_uncompressed_size for c in columns)
        assert not any(c.has_offset_index or c.has_column_index for c in columns)
        assert [c.statistics and c.statistics.max for c in columns[2:]] == [
            was.column(i).statistics and was.column(i).statistics.max
            for i in range(2, len(columns))
        ]


def put(*path):
    """Return a change of a footer: the last of `path` in the place that the others lead to."""
    *way, last, value = path

    def change(meta):
        for step in way:
            meta = meta[step]
        if value is None:
            del meta[last]
        else:
            meta[last] = value

    return change


GROUP = (4, 1, 1, 0)
COLUMN = (*GROUP, 1, 1, 1, 0, 3, 1)
TEXT, PAIRS = thrift.BINARY, lambda *pairs: (thrift.LIST, (thrift.STRUCT, [*pairs]))
REFUSED = {
    "encrypted": put(8, (thrift.STRUCT, {})),
    "a field that is not known": put(*COLUMN, 30, (thrift.I64, 4)),
    "a field of another type": put(*COLUMN, 9, (thrift.I32, 4)),
    "a chunk in another file": put(*GROUP, 1, 1, 1, 0, 1, (TEXT, b"other.parquet")),
    "no rows in a group": put(*GROUP, 3, (thrift.I64, 0)),
    "another number of rows": put(3, (thrift.I64, 2999)),
    "a writer that counts wrong": put(6, (TEXT, b"parquet-cpp version 1.2.8")),
    "dates of another calendar": put(
        5, PAIRS({1: (TEXT, b"org.apache.spark.legacyDateTime"), 2: (TEXT, b"")})
    ),
    "an old Spark": put(5, PAIRS({1: (TEXT, b"org.apache.spark.version"), 2: (TEXT, b"2.4.8")})),
    "a chunk too long": put(*COLUMN, 7, (thrift.I64, 1 << 20)),
    "a chunk before the file": put(*COLUMN, 11, (thrift.I64, 2)),
    "a chunk of no length": put(*COLUMN, 7, (thrift.I64, -5)),
    "a dictionary after its data": put(*COLUMN, 11, (thrift.I64, 1 << 20)),
    "orders of other columns": put(7, PAIRS({})),
    "columns in another order": put(*COLUMN, 3, (thrift.LIST, (TEXT, [b"n"]))),
    "a schema that is cut off": put(2, 1, 1, 0, 5, (thrift.I32, 99)),
    "no groups": put(4, PAIRS()),
}


@pytest.mark.parametrize("case", REFUSED)
def test_footers_that_are_refused(plain, case):
    meta = copy.deepcopy(read_footer(plain[0]).meta)
    REFUSED[case](meta)
    data = thrift.write(meta)
    with pytest.raises(ValueError, match=r"\w"):
        footer.footer_of(data, len(plain[0]))


@pytest.mark.parametrize(
    ("columns", "known", "by_id", "reason"),
    [
        ({"x": None}, SCHEMA.names, False, "lacks x"),
        ({"N": None}, SCHEMA.names, False, "lacks N"),
        ({"l": None}, SCHEMA.names, False, "nested"),
        ({"n": None}, ["id", "n"], False, "has not"),
        ({"n": 4}, SCHEMA.names, True, "another id"),
    ],
)
def test_columns_that_cannot_be_replaced(plain, columns, known, by_id, reason):
    found = read_footer(plain[0])
    with pytest.raises(ValueError, match=reason):
        footer.check_columns(found, columns, known, by_id=by_id)


def test_other_row_groups_and_columns_are_refused(plain, tmp_path):
    before, first, second = map(read_footer, plain)
    by_duckdb(rows_of(1000, 2, 0).select(["s"]), tmp_path / "s", 1000, "snappy")
    for new in ([], [second, first], [first], [first, read_footer((tmp_path / "s").read_bytes())]):
        with pytest.raises(ValueError, match="other"):
            spliced(before, new)


@given(groups=st.lists(st.integers(1, 20), min_size=1, max_size=12))
def test_runs_are_what_a_writer_makes_again(groups):
    found = runs(groups, 4)
    assert [i for run in found for i in run] == list(range(len(groups)))
    for run in found:
        rows = groups[run.start : run.stop]
        full = min(rows[:-1] or rows)
        made, count = [], 0
        for group in rows:  # it comes vector by vector
            for vector in [4] * (group // 4) + [group % 4] * (group % 4 > 0):
                count += vector
                if count >= full:
                    made.append(count)
                    count = 0
        assert made + [count] * (count > 0) == rows


@given(flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4))
def test_damaged_footers_are_refused_or_read(plain, flips):
    length = footer.length_of(plain[0][-footer.END :])
    data = bytearray(plain[0][-footer.END - length : -footer.END])
    for place, value in flips:
        data[place % length] = value
    with contextlib.suppress(ValueError):
        found = footer.footer_of(bytes(data), len(plain[0]))
        footer.check_columns(found, {"n": 2}, SCHEMA.names, by_id=len(flips) % 2 == 0)
        made = spliced(found, [read_footer(file) for file in plain[1:]])
        assert all(p.start >= 0 and p.start + p.length <= len(plain[p.file]) for p in made.pieces)
