"""The pure core of the catalog, against a model that does everything the slow way."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.changes import (
    KEEP,
    AddTable,
    Change,
    DeclareLayer,
    DropTable,
    RenameTable,
    UpdateTable,
    apply,
    describe,
)
from catalog.document import decode, decode_change, encode
from catalog.errors import AlreadyExistsError, InputError, NotFoundError
from catalog.names import fold
from catalog.state import CatalogChange, CatalogState
from catalog.storage.location import parse

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ROOT = "/lake"

names = st.sampled_from(["silver.a", "SILVER.A", "silver.b", "gold.a", "gold.ä", "new.x", "bad"])
relative = st.lists(st.sampled_from(["t", "u", "_catalog", "v"]), min_size=1, max_size=3)
places = st.one_of(
    relative.map("/".join).map(lambda path: (path, True)),
    st.sampled_from(
        [
            "/lake/t",
            "file:///lake/u/",
            "/other/../lake/v/t",
            "/elsewhere",
            "/",
            "s3://b/t",
            "s3://b",
        ]
    ).map(lambda uri: (uri, False)),
)
texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
tags = st.dictionaries(st.sampled_from("ab"), st.text("xyä", max_size=3), max_size=2)
changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(
        lambda name, place, description, owner, tags: AddTable(
            name=name,
            id="1",
            location=place[0],
            managed=place[1],
            description=description,
            owner=owner,
            tags=tags,
        ),
        names,
        places,
        texts,
        texts,
        tags,
    ),
    st.builds(DropTable, names),
    st.builds(RenameTable, names, names),
    st.builds(UpdateTable, names, texts | st.just(KEEP), texts | st.just(KEEP), tags),
    st.builds(DeclareLayer, st.sampled_from(["new", "NEW", "gold", "1"]), texts),
)


def start() -> CatalogState:
    empty = CatalogState(-1, NOW)
    return apply(empty, [DeclareLayer("silver"), DeclareLayer("gold")], root=ROOT, now=NOW)


def step(state: CatalogState, *changes: Change) -> CatalogState:
    return apply(state, changes, root=ROOT, now=NOW)


def add(name: str, location: str, *, managed: bool = True) -> AddTable:
    return AddTable(name=name, id="1", location=location, managed=managed)


def path_of(location: str, *, managed: bool) -> str:
    return parse(ROOT).child(location).uri if managed else parse(location).uri


def overlap(one: str, other: str) -> bool:
    one, other = one.rstrip("/") + "/", other.rstrip("/") + "/"
    return one.startswith(other) or other.startswith(one)


def model(state: dict[str, tuple[str, str]], layers: dict[str, str], change: Change) -> bool:
    """Say by brute force whether a change is allowed, and make it: folded name -> name, URI."""
    match change:
        case DeclareLayer(name):
            if name == "1":
                return False
            layers.setdefault(fold(name), name)
        case DropTable(name) | UpdateTable(name):
            if fold(name) not in state:
                return False
            if isinstance(change, DropTable):
                del state[fold(name)]
        case RenameTable(old, new):
            layer, _, table = new.partition(".")
            if fold(old) not in state or fold(layer) not in layers or not table:
                return False
            if fold(new) in state and fold(new) != fold(old):
                return False
            place = state.pop(fold(old))[1]
            state[fold(new)] = (f"{layers[fold(layer)]}.{table}", place)
        case AddTable(name=name):
            layer, _, table = name.partition(".")
            place = path_of(change.location, managed=change.managed)
            taken = [uri for _, uri in state.values()] + [path_of("_catalog", managed=True)]
            if fold(layer) not in layers or not table or fold(name) in state:
                return False
            if any(overlap(place, other) for other in taken):
                return False
            state[fold(name)] = (f"{layers[fold(layer)]}.{table}", place)
    return True


@given(st.lists(changes, max_size=25))
def test_agrees_with_the_model(script: list[Change]) -> None:
    state, expected = start(), dict[str, tuple[str, str]]()
    layers = {"silver": "silver", "gold": "gold"}
    for change in script:
        before = state
        try:
            state = step(state, change)
            allowed = True
        except InputError:
            allowed = False
        assert allowed == model(expected, layers, change), change
        assert state.version == before.version + allowed
    found = {
        fold(t.name): (t.name, path_of(t.location, managed=t.managed))
        for t in state.tables.values()
    }
    assert found == expected
    assert list(state.layers) == list(layers.values())
    assert all(name == table.name for name, table in state.tables.items())
    assert list(state.tables) == sorted(state.tables)


@given(st.lists(changes, max_size=12))
def test_a_batch_is_its_changes_in_order_or_nothing(script: list[Change]) -> None:
    one_by_one = start()
    try:
        for change in script:
            one_by_one = step(one_by_one, change)
    except InputError:
        with pytest.raises(InputError):
            step(start(), *script)
    else:
        batch = step(start(), *script)
        assert (batch.layers, batch.tables) == (one_by_one.layers, one_by_one.tables)


@given(st.lists(changes, max_size=12), texts, st.text("a-ü", max_size=9))
def test_documents_round_trip(script: list[Change], user: str | None, token: str) -> None:
    state = start()
    for change in script:
        try:
            state = step(state, change)
        except InputError:
            continue
    operation, touched = describe(script)
    record = CatalogChange(state.version, NOW, operation, touched, user)
    data = encode(state, record, token=token)
    assert decode(data, where="x") == state
    assert decode_change(data, where="x") == (record, token)


@pytest.mark.parametrize(
    ("location", "managed"),
    [
        ("a/b", True),
        ("a", True),
        ("a/b/c", True),
        ("/lake/a/b", False),
        ("/lake/a/b/", False),
        ("file:///lake/x/../a/b", False),
        ("/lake", False),
        ("/", False),
        ("_catalog", True),
        ("_catalog/x", True),
        ("/lake/_catalog/x", False),
    ],
)
def test_locations_never_overlap(location: str, managed: bool) -> None:
    state = step(start(), add("silver.a", "a/b"))
    with pytest.raises(AlreadyExistsError, match=r"overlaps with that of (silver.a|the catalog)"):
        step(state, add("gold.b", location, managed=managed))


@pytest.mark.parametrize(
    ("location", "managed"), [("a/bc", True), ("a/c", True), ("/a/b", False), ("s3://b/a/b", False)]
)
def test_neighbours_do_not_overlap(location: str, managed: bool) -> None:
    state = step(start(), add("silver.a", "a/b"), add("gold.b", location, managed=managed))
    assert len(state.tables) == 2


def test_a_dropped_table_frees_name_and_place() -> None:
    state = step(start(), add("silver.a", "a/b"))
    assert (
        step(state, DropTable("silver.a"), add("silver.a", "a")).tables["silver.a"].location == "a"
    )
    batch: list[Change] = [add("gold.x", "x"), DropTable("gold.x"), add("gold.y", "x/y")]
    assert list(step(state, *batch).tables) == ["gold.y", "silver.a"]


def test_names_ignore_case() -> None:
    state = step(start(), add("Silver.Flights", "f"))
    assert state.table("SILVER.FLIGHTS").name == "silver.Flights"
    with pytest.raises(AlreadyExistsError, match=r"silver\.Flights exists"):
        step(state, add("silver.flights", "g"))
    assert list(step(state, RenameTable("silver.flights", "silver.FLIGHTS")).tables) == [
        "silver.FLIGHTS"
    ]
    assert list(step(state, DeclareLayer("SILVER", "typed")).layers) == ["silver", "gold"]


def test_errors_name_what_is_near() -> None:
    state = step(start(), add("silver.flights", "f"))
    with pytest.raises(NotFoundError, match=r"Did you mean silver\.flights\?") as caught:
        step(state, DropTable("silver.flight"))
    assert caught.value.near == ("silver.flights",)
    with pytest.raises(NotFoundError, match="one of silver, gold") as caught:
        step(state, add("sliver.x", "x"))
    assert caught.value.near == ("silver",)


@pytest.mark.parametrize(
    "change",
    [
        add("silver.a", "../x"),
        add("silver.a", "/x"),
        add("silver.a", ""),
        add("silver.a", "ftp://x", managed=False),
        AddTable(name="silver.a", id="1", location="a", managed=True, description="\ud800"),
        AddTable(name="silver.a", id=1, location="a", managed=True),  # type: ignore[arg-type]
        AddTable(name="silver.a", id="1", location="a", managed=True, tags={"a": 1}),  # type: ignore[dict-item]
        DeclareLayer("x", 5),  # type: ignore[arg-type]
    ],
)
def test_what_could_not_be_read_back_is_refused(change: Change) -> None:
    with pytest.raises(InputError):
        step(start(), change)


def test_update_keeps_what_is_not_named() -> None:
    state = step(start(), add("silver.a", "a"), UpdateTable("silver.a", "text", "ada", {"k": "v"}))
    assert step(state, UpdateTable("silver.a")).tables == state.tables
    table = step(state, UpdateTable("silver.a", description=None)).tables["silver.a"]
    assert (table.description, table.owner, table.tags) == (None, "ada", {"k": "v"})
    assert step(state, UpdateTable("silver.a", tags=None)).tables["silver.a"].tags == {}


def test_time_never_goes_back() -> None:
    later = datetime(2027, 1, 1, tzinfo=UTC)
    state = apply(start(), [DeclareLayer("x")], root=ROOT, now=later)
    assert step(state, DeclareLayer("y")).timestamp == later


def test_description_of_changes() -> None:
    assert describe([DropTable("a.b"), DropTable("a.c")]) == ("drop table", ("a.b", "a.c"))
    assert describe([DropTable("a.b"), DeclareLayer("x")]) == ("transaction", ("a.b", "x"))
