"""Which files may match: the quick answer about new files is the one about a table's files."""

import dataclasses
import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.delta.actions import AddFile, DeletionVector
from lakehouse.delta.files.adds import raw_table
from lakehouse.delta.files.index import FileIndex
from lakehouse.delta.files.layout import Layout
from lakehouse.delta.schema.fields import Field, Primitive, Struct
from lakehouse.dml.parts import reference
from lakehouse.duck.engine import Engine
from lakehouse.scan.limits import is_ruled_out, limits
from lakehouse.scan.matching import Question, answers, may_match, question
from lakehouse.scan.may import DROP
from lakehouse.scan.predicate import parse_predicate
from lakehouse.scan.prune import Pruner
from lakehouse.scan.read import Scanner
from lakehouse.testing import predicates
from tests.scan.test_pruning import layouts, written
from tests.types.engines import effort


@pytest.fixture(scope="module")
def engine():
    with Engine() as engine:
        yield engine


@effort(0.06)
@given(data=st.data(), layout=layouts())
def test_new_files_are_answered_like_old_ones(lake, engine, data, layout):
    schema, partition_by, appends = layout
    snapshot = written(lake, schema, partition_by, appends).snapshot()
    layout_ = snapshot.files.layout
    where = data.draw(predicates(pa.concat_tables(appends)))
    scanner = Scanner(engine)
    predicate = parse_predicate(where, columns=snapshot.schema.names(), engine=engine)
    asked = question(reference(snapshot), predicate, scanner)
    adds = []
    for add in snapshot.files.adds():
        stats = data.draw(st.sampled_from((add.stats, None, "{}", "no JSON")))
        rows = FileIndex(raw_table([add]), layout_).rows(engine)
        hidden = data.draw(st.sampled_from((0, 0, rows)))
        vector = DeletionVector("u", "x" * 20, 1, hidden) if hidden else None
        adds.append(dataclasses.replace(add, stats=stats, deletion_vector=vector))
    slow = answers(FileIndex(raw_table(adds), layout_), asked, engine)
    quick = may_match(tuple(adds), layout_, asked, engine)
    assert sorted(quick) == sorted(answer.key for answer in slow if answer.rows != 0)


BOUNDED = Layout(Struct((Field("a", Primitive("short")), Field("b", Primitive("long")))), ())
BOUNDS = st.none() | st.integers(-(2**16), 2**16) | st.sampled_from((5.0, "5", True, 2**70))
COMPARISONS = st.tuples(st.sampled_from("01"), st.sampled_from("<>="), st.integers(-9, 9))


@given(data=st.data(), texts=st.lists(COMPARISONS, min_size=1, max_size=3))
def test_what_is_ruled_out_is_no_answer(engine, data, texts):
    filters = tuple(f"(c{column}_{'a' * 20} {way} {n})" for column, way, n in texts)
    may = Pruner(BOUNDED).may_match(filters)
    asked = Question(may.exact, DROP, limits(may, BOUNDED))
    low, high = (data.draw(st.fixed_dictionaries({"a": BOUNDS, "b": BOUNDS})) for _ in "ab")
    stats = json.dumps({"numRecords": 3, "minValues": low, "maxValues": high})
    add = AddFile("a.parquet", {}, 1, 1, stats=stats)
    index = FileIndex(raw_table([add]), BOUNDED)
    if is_ruled_out(add, asked.limits):
        assert answers(index, asked, engine) == []


@pytest.mark.parametrize(
    ("where", "low", "high", "out"),
    [("= 7", 1, 6, True), ("= 7", 8, 9, True), ("= 7", 7, 7, False), ("< 3", 4, 9, True)],
)
def test_most_files_elsewhere_are_ruled_out(where, low, high, out):
    known = limits(Pruner(BOUNDED).may_match((f"(c1_{'a' * 20} {where})",)), BOUNDED)
    stats = json.dumps({"numRecords": 3, "minValues": {"b": low}, "maxValues": {"b": high}})
    assert is_ruled_out(AddFile("a.parquet", {}, 1, 1, stats=stats), known) is out
    twice = stats.replace('{"b"', '{"b": 7, "b"')
    assert not is_ruled_out(AddFile("a.parquet", {}, 1, 1, stats=twice), known)
