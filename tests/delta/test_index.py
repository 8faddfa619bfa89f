"""A file index after changes: typed columns that wait for a use, and parts of it, lose nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.delta import actions as act
from lakehouse.delta.files.adds import raw_table
from lakehouse.delta.files.index import FileIndex
from lakehouse.duck.engine import Engine
from tests.delta.test_stored import statistics
from tests.scan.test_prune_rules import LAYOUT
from tests.types.engines import effort


@pytest.fixture(scope="module")
def engine():
    with Engine({"threads": 1}) as engine:
        yield engine


@st.composite
def commits(draw):
    """Draw files that come, those that go of these before, and who asks in between."""
    made, found = 0, []
    for _ in range(draw(st.integers(1, 5))):
        adds = []
        for _ in range(draw(st.integers(0, 3))):
            values = {"p": draw(st.sampled_from(["1", "2", None]))}
            adds.append(act.AddFile(f"f{made}", values, 1, 1, stats=draw(statistics())))
            made += 1
        gone = draw(st.sets(st.integers(0, max(0, made - 1))))
        found.append((adds, {f"f{n}" for n in gone}, draw(st.booleans())))
    return found


@effort(0.3)
@given(drawn=commits(), data=st.data())
def test_an_index_after_changes_is_that_of_its_files(engine, drawn, data):
    index = FileIndex(None, LAYOUT)
    live: dict[str, act.AddFile] = {}
    for adds, gone, asked in drawn:
        index = index.changed(adds=adds, gone={(name, "") for name in gone}, engine=engine)
        live = {path: add for path, add in live.items() if path not in gone}
        live |= {add.path: add for add in adds}
        if asked:
            index.typed(engine)
    fresh = FileIndex(raw_table(live.values()), LAYOUT)
    assert index.rows(engine) == fresh.rows(engine)
    assert index.typed(engine).equals(fresh.typed(engine))
    part = index
    for _ in range(2):
        keys = {add.key for add in part.adds()}
        wanted = data.draw(st.sets(st.sampled_from(sorted(keys)))) if keys else set()
        part = part.only(wanted)
        assert list(part.adds()) == [add for add in live.values() if add.key in wanted]
        assert part.keys() == wanted
        assert part.typed(engine)["file"].to_pylist() == [add.path for add in part.adds()]
