"""Arrow arrays made of plain values, and actions and lines made in bulk, are what they replace."""

import json
import subprocess
import sys
from types import MappingProxyType

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.delta.actions import AddFile, DeletionVector, RemoveFile
from lakehouse.delta.codec import to_json, to_lines
from lakehouse.delta.files import arrays
from lakehouse.delta.files.adds import raw_table, removals, to_action
from lakehouse.duck.engine import VERSION

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
wide = st.integers(-(1 << 63), (1 << 63) - 1)
paths = st.from_regex(r"[a-z%]{1,3}(/[a-z]{1,3})?\"?\.parquet", fullmatch=True).map(
    lambda path: path.replace("%", "%41")
)
vectors = st.builds(
    DeletionVector, st.just("u"), words, st.integers(1, 99), st.integers(1, 99), st.none()
)


@st.composite
def adds(draw):
    return AddFile(
        path=draw(paths),
        partition_values=draw(st.dictionaries(words, st.none() | words, max_size=2)),
        size=draw(st.integers(0, 1 << 50)),
        modification_time=draw(st.integers(0, 1 << 60)),
        stats=draw(st.none() | words),
        deletion_vector=draw(st.none() | vectors),
        extra=draw(st.sampled_from([{}, {"tags": {"a": "b"}}, {"baseRowId": 7, "other": [1]}])),
    )


@given(st.lists(st.none() | words), st.lists(wide), st.lists(st.booleans()))
def test_arrays_are_those_that_arrow_makes(texts, numbers, flags):
    assert arrays.texts(texts).equals(pa.array(texts, pa.string()))
    assert arrays.numbers(numbers).equals(pa.array(numbers, pa.int64()))
    assert arrays.flags(flags).equals(pa.array(flags, pa.bool_()))


@given(st.lists(st.dictionaries(words, st.none() | words, max_size=3)))
def test_maps_are_those_that_arrow_makes(values):
    entries = [list(value.items()) for value in values]
    found = arrays.maps(entries)
    found.validate(full=True)
    assert found.equals(pa.array(entries, pa.map_(pa.string(), pa.string())))


@given(st.lists(adds()), st.booleans())
def test_files_are_removed_by_their_rows_as_by_their_actions(files, data_change):
    raw = raw_table(files)
    raw.validate(full=True)
    again = [to_action(row) for row in raw.to_pylist()]
    assert again == files
    removed = [file.removed(deletion_timestamp=5, data_change=data_change) for file in files]
    assert removals(raw, deletion_timestamp=5, data_change=data_change) == removed


@given(
    st.builds(
        RemoveFile,
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
            lambda path: "%" not in path
        ),
        st.none() | st.integers(0, 1 << 50),
        st.booleans(),
        st.sampled_from([None, {}, MappingProxyType({}), {"a": None}]),
        st.none() | st.integers(0, 1 << 50),
        st.none() | vectors,
        st.sampled_from([{}, {"tags": {"a": "b"}}]),
    )
)
def test_a_line_says_what_its_action_does(action):
    line = to_lines([action])
    text = json.dumps(to_json(action), ensure_ascii=False, separators=(",", ":"))
    assert line == f"{text}\n".encode()


def test_a_commit_does_without_pandas(tmp_path):
    code = (
        "import sys, lakehouse\n"
        "with lakehouse.connect(sys.argv[1], durable=False) as lake:\n"
        "    table = lake.create_table('silver.t', {'n': 'BIGINT'})\n"
        "    for n in range(3):\n"
        "        table.append(lake.sql(f'SELECT {n} AS n'))\n"
        "    table.rewrite(lake.table('silver.t').files()['path'].to_pylist())\n"
        "    assert table.detail().files == 1\n"
        # DuckDB 1.5 imports it itself.
        f"assert {VERSION < (2, 0)} or 'pandas' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "lake")], check=True)
