"""Views in the catalog: their rules, and the document that holds them."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import Catalog, CorruptionError, InputError, NotFoundError
from catalog.changes import AddTable, AddView, DeclareLayer, DropTable, DropView, RenameTable, apply
from catalog.document import FORMAT, decode, encode
from catalog.state import CatalogChange, CatalogState
from catalog.storage import open_storage
from catalog.views import dependents

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EMPTY = apply(CatalogState(-1, NOW), [DeclareLayer("gold")], root="/lake", now=NOW)
NAMES = [f"gold.{letter}" for letter in "abcde"]
CHANGE = CatalogChange(0, NOW, "x", (), None)


def steps():
    name = st.sampled_from(NAMES)
    reads = st.lists(name, max_size=3, unique=True).map(tuple)
    return st.lists(
        st.one_of(
            st.builds(lambda n: AddTable(name=n, id="1", location=n, managed=True), name),
            st.builds(
                lambda n, r, p: AddView(name=n, sql="SELECT 1", depends_on=r, replace=p),
                name,
                reads,
                st.booleans(),
            ),
            st.builds(DropTable, name, st.booleans()),
            st.builds(DropView, name, st.booleans()),
            st.builds(RenameTable, name, name),
        ),
        max_size=12,
    )


@given(steps())
def test_whatever_happens_views_read_what_is_there_and_never_themselves(changes):
    state = EMPTY
    for change in changes:
        try:
            state = apply(state, [change], root="/lake", now=NOW)
        except InputError:
            continue
        assert not state.tables.keys() & state.views.keys()
        for view in state.views.values():
            assert all(name in state.entries for name in view.depends_on)
            assert view.name not in dependents(view.name, state.views)
        data = encode(state, CHANGE, token="t")
        assert decode(data, where="here") == state
        assert ("views" in json.loads(data)) == bool(state.views)
        assert json.loads(data)["format"] == FORMAT


def test_a_document_without_views_reads_as_before():
    data = json.loads(encode(EMPTY, CHANGE, token="t"))
    assert "views" not in data
    assert decode(json.dumps(data).encode(), where="here").views == {}


@pytest.mark.parametrize(
    "view",
    [
        {"sql": 1, "depends_on": [], "created": NOW.isoformat()},
        {"sql": "SELECT 1", "depends_on": ["gold.gone"], "created": NOW.isoformat()},
        {"sql": "SELECT 1", "depends_on": "gold.a", "created": NOW.isoformat()},
        {"sql": "SELECT 1", "created": NOW.isoformat()},
        "SELECT 1",
    ],
)
def test_a_damaged_view_is_a_damaged_catalog(view):
    data = json.loads(encode(EMPTY, CHANGE, token="t"))
    data["views"] = {"gold.v": view}
    with pytest.raises(CorruptionError):
        decode(json.dumps(data).encode(), where="here")


def test_a_catalog_keeps_views_and_tells_their_history():
    catalog = Catalog.open(open_storage("memory://"))
    catalog.add_table("silver.t", id="1", location="t", managed=True)
    catalog.add_view("gold.v", "FROM silver.t", depends_on=["Silver.T"], owner="ada")
    catalog.add_view("gold.v", "SELECT 1", depends_on=["silver.t"], replace=True)
    assert (catalog.view("GOLD.V").owner, catalog.view("gold.v").depends_on) == (
        "ada",
        ("silver.t",),
    )
    assert catalog.update_view("gold.v", owner=None, description="d").owner is None
    assert [change.operation for change in catalog.history(2)] == ["update view", "add view"]
    with pytest.raises(NotFoundError, match=r"gold\.v is a view, not a table"):
        catalog.table("gold.v")
    with pytest.raises(NotFoundError, match=r"Did you mean gold\.v"):
        catalog.view("gold.w")
    catalog.drop_table("silver.t", cascade=True)
    assert catalog.views() == []
