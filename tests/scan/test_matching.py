"""Which files may match: the quick answer about new files is the one about a table's files."""

import dataclasses

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.delta.actions import DeletionVector
from lakehouse.delta.files.adds import raw_table
from lakehouse.delta.files.index import FileIndex
from lakehouse.dml.parts import reference
from lakehouse.duck.engine import Engine
from lakehouse.scan.matching import answers, may_match, question
from lakehouse.scan.predicate import parse_predicate
from lakehouse.scan.read import Scanner
from lakehouse.testing import predicates
from tests.scan.test_pruning import layouts, written
from tests.types.engines import effort


@effort(0.12)
@given(data=st.data(), layout=layouts())
def test_new_files_are_answered_like_old_ones(lake, data, layout):
    schema, partition_by, appends = layout
    snapshot = written(lake, schema, partition_by, appends).snapshot()
    layout_ = snapshot.files.layout
    where = data.draw(predicates(pa.concat_tables(appends)))
    with Engine() as engine:
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
