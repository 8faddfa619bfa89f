"""The catalog as its users see it, on every kind of storage."""

import json
import pickle
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import catalog as package
from catalog import (
    AddTable,
    AlreadyExistsError,
    Backoff,
    Catalog,
    ConflictError,
    CorruptionError,
    DropTable,
    InputError,
    NotFoundError,
    OutcomeUnknownError,
    RenameTable,
    Storage,
    StorageError,
    TableEntry,
    UnsupportedError,
    open_storage,
)
from catalog.journal import HINT, HINT_EVERY
from tests.catalog.conftest import Script

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def catalog(storage: Storage) -> Catalog:
    return Catalog.open(storage, user="ada")


def add(catalog: Catalog, name: str, location: str | None = None) -> TableEntry:
    return catalog.add_table(name, id=f"id of {name}", location=location or name, managed=True)


def documents(storage: Storage) -> list[str]:
    return [item.path for item in storage.list("_catalog")]


def test_open_creates_once(storage: Storage) -> None:
    with pytest.raises(NotFoundError, match="no lake at"):
        Catalog.open(storage, create=False)
    assert documents(storage) == []
    catalog = Catalog.open(storage, layers=["raw", "clean"])
    assert catalog.layers() == ["raw", "clean"]
    assert Catalog.open(storage).layers() == ["raw", "clean"]
    assert Catalog.open(storage, create=False).tables() == []
    assert documents(storage) == ["_catalog/00000000000000000000.json"]


def test_default_layers_and_user(storage: Storage) -> None:
    catalog = Catalog.open(storage)
    assert catalog.layers() == ["bronze", "silver", "gold"]
    assert catalog.history()[0].user == catalog.user


def test_add_and_look_up(catalog: Catalog, storage: Storage) -> None:
    before = datetime.now(UTC)
    entry = catalog.add_table(
        "silver.flights",
        id="1",
        location="silver/flights-1",
        managed=True,
        description="typed",
        owner="ada",
        tags={"pii": "no"},
    )
    assert entry == TableEntry(
        name="silver.flights",
        id="1",
        location="silver/flights-1",
        managed=True,
        created=entry.created,
        description="typed",
        owner="ada",
        tags={"pii": "no"},
        head=None,
    )
    assert before <= entry.created <= datetime.now(UTC)
    assert entry.layer == "silver"
    for again in (catalog, Catalog.open(storage)):
        assert again.table("silver.flights") == entry
        assert again.table("SILVER.Flights") == entry
        assert again.tables() == [entry]
    assert pickle.loads(pickle.dumps(entry)) == entry


def test_tables_by_layer(catalog: Catalog) -> None:
    for name in ["gold.b", "silver.x", "gold.a"]:
        add(catalog, name)
    assert [table.name for table in catalog.tables()] == ["gold.a", "gold.b", "silver.x"]
    assert [table.name for table in catalog.tables("Gold")] == ["gold.a", "gold.b"]
    assert catalog.tables("bronze") == []
    with pytest.raises(NotFoundError, match="no layer golden") as caught:
        catalog.tables("golden")
    assert caught.value.near == ("gold",)


def test_unknown_names(catalog: Catalog) -> None:
    add(catalog, "silver.flights")
    for name in ["silver.flight", "gold.flights"]:
        for call in (catalog.table, catalog.drop_table, catalog.update_table):
            with pytest.raises(NotFoundError, match=r"Did you mean silver\.flights") as caught:
                call(name)
            assert isinstance(caught.value, KeyError)
            assert caught.value.near == ("silver.flights",)
    with pytest.raises(InputError, match=r"layer\.table"):
        catalog.table("flights")


def test_a_taken_name_is_refused_and_changes_nothing(catalog: Catalog) -> None:
    entry = add(catalog, "silver.a")
    version = catalog.state.version
    with pytest.raises(AlreadyExistsError):
        add(catalog, "silver.A", "elsewhere")
    assert catalog.tables() == [entry]
    assert catalog.state.version == version


def test_drop_and_add_again(catalog: Catalog) -> None:
    entry = add(catalog, "silver.a")
    assert catalog.drop_table("SILVER.A") == entry
    assert catalog.tables() == []
    assert add(catalog, "silver.a").created >= entry.created


def test_rename_keeps_everything_else(catalog: Catalog) -> None:
    entry = add(catalog, "silver.a")
    assert catalog.rename_table("silver.a", "gold.b") == replace(entry, name="gold.b")
    add(catalog, "silver.c")
    with pytest.raises(AlreadyExistsError):
        catalog.rename_table("silver.c", "gold.b")
    with pytest.raises(NotFoundError):
        catalog.rename_table("silver.a", "silver.d")


def test_update(catalog: Catalog) -> None:
    add(catalog, "silver.a")
    catalog.update_table("silver.a", description="x", tags={"k": "v"})
    entry = catalog.update_table("silver.a", owner="ada")
    assert (entry.description, entry.owner, entry.tags) == ("x", "ada", {"k": "v"})
    assert catalog.update_table("silver.a", description=None).description is None


def test_layers_can_be_declared(catalog: Catalog) -> None:
    with pytest.raises(NotFoundError, match="no layer staging"):
        add(catalog, "staging.a")
    assert catalog.declare_layer("staging", "half-way").description == "half-way"
    assert catalog.declare_layer("staging").description == "half-way"
    assert catalog.layers() == ["bronze", "silver", "gold", "staging"]
    assert add(catalog, "staging.a").layer == "staging"


def test_several_changes_are_one_version(catalog: Catalog) -> None:
    def entry(name: str) -> AddTable:
        return AddTable(name=name, id="1", location=name, managed=True)

    state = catalog.commit([entry("gold.a"), entry("gold.b"), RenameTable("gold.a", "gold.c")])
    assert (state.version, list(state.tables)) == (1, ["gold.b", "gold.c"])
    with pytest.raises(NotFoundError):
        catalog.commit([entry("gold.d"), DropTable("gold.gone")], operation="publish")
    assert catalog.state == state
    assert catalog.commit([]) == state
    catalog.commit([entry("gold.d")], operation="publish")
    assert catalog.history(1)[0].operation == "publish"


def test_external_locations_are_kept_absolute(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    entry = catalog.add_table("silver.a", id="1", location="link/a b/", managed=False)
    assert entry.location == (tmp_path / "elsewhere/a b").as_uri()
    with pytest.raises(AlreadyExistsError, match=r"overlaps with that of silver\.a"):
        catalog.add_table("silver.b", id="2", location=f"{tmp_path}/elsewhere/a b/c", managed=False)
    assert (
        catalog.add_table("silver.c", id="3", location="s3://bucket/c/", managed=False).location
        == "s3://bucket/c"
    )


def test_links_to_the_lake_itself_overlap(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    catalog = Catalog.open(open_storage(tmp_path / "link"))
    add(catalog, "silver.a", "a")
    for uri in (tmp_path / "real/a/b", tmp_path / "link/a", tmp_path / "real/_catalog"):
        with pytest.raises(AlreadyExistsError):
            catalog.add_table("silver.b", id="2", location=str(uri), managed=False)
    assert len(catalog.tables()) == 1


def test_history(storage: Storage) -> None:
    ticks = iter(NOW + timedelta(minutes=i) for i in range(9))
    catalog = Catalog.open(storage, user="ada", clock=lambda: next(ticks))
    add(catalog, "silver.a")
    catalog.rename_table("silver.a", "silver.b")
    catalog.user = None
    catalog.drop_table("silver.b")
    shown = [(c.version, c.operation, c.names, c.user, c.timestamp) for c in catalog.history()]
    assert shown == [
        (3, "drop table", ("silver.b",), None, NOW + timedelta(minutes=3)),
        (2, "rename table", ("silver.a", "silver.b"), "ada", NOW + timedelta(minutes=2)),
        (1, "add table", ("silver.a",), "ada", NOW + timedelta(minutes=1)),
        (0, "create catalog", ("bronze", "silver", "gold"), "ada", NOW),
    ]
    assert [change.version for change in catalog.history(limit=2)] == [3, 2]
    assert catalog.history(limit=0) == []


def test_another_process_sees_changes_at_once(catalog: Catalog, storage: Storage) -> None:
    other = Catalog.open(storage)
    add(catalog, "silver.a")
    assert [table.name for table in other.tables()] == ["silver.a"]
    other.drop_table("silver.a")
    assert catalog.tables() == []
    state = catalog.state
    assert catalog.state is state


def test_a_catalog_that_was_deleted_and_made_anew(catalog: Catalog, storage: Storage) -> None:
    add(catalog, "silver.a")
    storage.delete(documents(storage))
    with pytest.raises(NotFoundError, match="no lake"):
        catalog.tables()
    Catalog.open(storage)
    assert catalog.tables() == []


@pytest.mark.parametrize(
    "hint", [None, b"3", b"0", b"5", b"999", b"9" * 20, b"-1", b"", b"\xff garbage", b"7" * 99]
)
def test_a_stale_or_corrupt_hint_does_no_harm(
    catalog: Catalog, storage: Storage, hint: bytes | None
) -> None:
    for number in range(5):
        add(catalog, f"silver.t{number}")
    if hint is not None:
        storage.put(f"_catalog/{HINT}", hint)
    again = Catalog.open(storage)
    assert again.state == catalog.state
    assert len(again.tables()) == 5
    assert len(again.history()) == 6


def test_a_long_history_is_not_listed(tmp_path: Path) -> None:
    storage = open_storage(tmp_path, durable=False)
    catalog = Catalog.open(storage)
    for number in range(HINT_EVERY + 1):
        catalog.declare_layer("bronze", f"{number}")
    assert storage.read(f"_catalog/{HINT}") == b"%d" % HINT_EVERY
    # With the hint, even a history that lost its beginning is found.
    storage.delete(documents(storage)[: HINT_EVERY - 1])
    assert Catalog.open(storage).state == catalog.state
    assert len(catalog.history()) == 3


def test_a_corrupt_document_is_named(catalog: Catalog, storage: Storage) -> None:
    add(catalog, "silver.a")
    newest = documents(storage)[-1]
    storage.put(newest, storage.read(newest)[:-9])
    for call in (lambda: Catalog.open(storage), lambda: Catalog.open(storage).tables()):
        with pytest.raises(CorruptionError, match=r"00001\.json is damaged.*Restore it") as caught:
            call()
        assert storage.url(newest) in str(caught.value)
    # What the error says to do helps.
    storage.delete([newest])
    assert Catalog.open(storage).tables() == []


def test_a_copied_document_is_noticed(catalog: Catalog, storage: Storage) -> None:
    storage.put("_catalog/00000000000000000007.json", storage.read(documents(storage)[0]))
    with pytest.raises(CorruptionError, match="holds version 0"):
        catalog.tables()


def test_a_newer_format_is_refused(catalog: Catalog, storage: Storage) -> None:
    document = json.loads(storage.read(documents(storage)[0]))
    document |= {"format": 2, "version": 1}
    storage.put("_catalog/00000000000000000001.json", json.dumps(document).encode())
    with pytest.raises(UnsupportedError, match="format 2"):
        catalog.tables()
    with pytest.raises(UnsupportedError, match="format 2"):
        add(catalog, "silver.a")
    assert len(documents(storage)) == 2


def test_foreign_files_beside_the_documents(catalog: Catalog, storage: Storage) -> None:
    for name in [
        "README",
        "00000000000000000009.json.bak",
        "1.json",
        "sub/00000000000000000009.json",
    ]:
        storage.put(f"_catalog/{name}", b"?")
    assert add(catalog, "silver.a").name == "silver.a"
    assert catalog.state.version == 1
    assert len(catalog.history()) == 2


UNKNOWN = OutcomeUnknownError("no answer")
REFUSED = StorageError("permission denied")


def impatient(**options: object) -> Backoff:
    return Backoff(attempts=5, sleep=lambda seconds: None, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [UNKNOWN]),  # it landed, the answer was lost
        ([UNKNOWN], []),  # it never arrived
        ([UNKNOWN, UNKNOWN, None], [UNKNOWN]),
        ([UNKNOWN, REFUSED, None], []),
        ([None, None], [UNKNOWN, None]),
    ],
)
def test_lost_answers_are_resolved(
    storage: Storage,
    faulty: Storage,
    script: Script,
    before: list[Exception | None],
    after: list[Exception | None],
) -> None:
    Catalog.open(storage)
    script.before, script.after = list(before), list(after)
    entry = add(Catalog.open(faulty, backoff=impatient()), "silver.a")
    catalog = Catalog.open(storage)
    assert catalog.tables() == [entry]
    assert [change.operation for change in catalog.history()] == ["add table", "create catalog"]


def test_a_put_that_lands_late_is_ours(storage: Storage, faulty: Storage, script: Script) -> None:
    Catalog.open(storage)

    def deliver(path: str) -> None:
        # The first put was held up on its way; it arrives just before the second.
        if len(script.puts) == 2:
            storage.put_if_absent(f"_catalog/{path}", script.sent[0])

    script.before, script.on_put = [UNKNOWN], deliver
    catalog = Catalog.open(faulty, backoff=impatient())
    add(catalog, "silver.a")
    assert len(script.puts) == 2
    assert [table.name for table in catalog.tables()] == ["silver.a"]
    assert catalog.state.version == 1


def test_no_answer_at_all_is_reported_as_such(
    storage: Storage, faulty: Storage, script: Script
) -> None:
    catalog = Catalog.open(storage)
    script.before = [UNKNOWN] * 99
    with pytest.raises(OutcomeUnknownError, match=r"in 5 tries.*Look at what is there"):
        add(Catalog.open(faulty, backoff=impatient()), "silver.a")
    assert script.puts == ["00000000000000000001.json"] * 5
    assert catalog.tables() == []


def test_a_refusal_is_no_mystery(storage: Storage, faulty: Storage, script: Script) -> None:
    Catalog.open(storage)
    script.before = [REFUSED]
    with pytest.raises(StorageError, match="permission denied"):
        add(Catalog.open(faulty, backoff=impatient()), "silver.a")
    assert len(script.puts) == 1


def test_who_loses_a_race_tries_again_on_the_new_state(
    storage: Storage, faulty: Storage, script: Script
) -> None:
    rival = Catalog.open(storage)
    catalog = Catalog.open(faulty, backoff=impatient())
    races = iter(["gold.x", "gold.y"])

    def overtake(path: str) -> None:
        if name := next(races, None):
            add(rival, name)

    script.on_put = overtake
    assert add(catalog, "silver.a").name == "silver.a"
    assert [table.name for table in rival.tables()] == ["gold.x", "gold.y", "silver.a"]
    assert [change.version for change in rival.history()] == [3, 2, 1, 0]


def test_who_loses_the_name_is_told(storage: Storage, faulty: Storage, script: Script) -> None:
    rival = Catalog.open(storage)
    catalog = Catalog.open(faulty, backoff=impatient())

    def overtake(path: str) -> None:
        script.on_put = lambda path: None
        rival.add_table("silver.a", id="rival", location="rival", managed=True)

    script.on_put = overtake
    with pytest.raises(AlreadyExistsError):
        add(catalog, "silver.a")
    assert [table.id for table in rival.tables()] == ["rival"]


def test_an_unanswered_put_that_lost_is_tried_again(
    storage: Storage, faulty: Storage, script: Script
) -> None:
    rival = Catalog.open(storage)

    def overtake(path: str) -> None:
        script.on_put = lambda path: None
        add(rival, "gold.x")

    script.on_put, script.before = overtake, [UNKNOWN]
    catalog = Catalog.open(faulty, backoff=impatient())
    add(catalog, "silver.a")
    assert [table.name for table in rival.tables()] == ["gold.x", "silver.a"]


def test_retries_are_bounded_and_wait_with_jitter(
    storage: Storage, faulty: Storage, script: Script
) -> None:
    rival = Catalog.open(storage)
    waits: list[float] = []
    backoff = Backoff(attempts=6, first=0.1, longest=0.5, sleep=waits.append, random=lambda: 0.5)
    catalog = Catalog.open(faulty, backoff=backoff)

    def overtake(path: str) -> None:
        rival.declare_layer("bronze", path)

    script.on_put = overtake
    with pytest.raises(ConflictError, match="each of 6 attempts"):
        add(catalog, "silver.a")
    assert waits == pytest.approx([0.05, 0.1, 0.2, 0.25, 0.25])
    assert rival.tables() == []


def test_losing_the_race_to_create_is_fine(
    storage: Storage, faulty: Storage, script: Script
) -> None:
    def overtake(path: str) -> None:
        Catalog.open(storage, layers=["first"])

    script.on_put = overtake
    assert Catalog.open(faulty, layers=["second"]).layers() == ["first"]
    assert len(documents(storage)) == 1


def test_ten_thousand_tables(storage: Storage) -> None:
    tables = [
        AddTable(
            name=f"silver.table_{number}",
            id=f"{number:036d}",
            location=f"silver/table_{number}-{number:012x}",
            managed=True,
            description="what is in it",
            tags={"pii": "no"},
        )
        for number in range(10_000)
    ]
    assert len(Catalog.open(storage).commit(tables).tables) == 10_000
    start = time.process_time()
    catalog = Catalog.open(storage)
    assert len(catalog.tables()) == 10_000
    assert catalog.table("silver.table_7").name == "silver.table_7"
    assert time.process_time() - start < 1
    assert add(catalog, "gold.one").name == "gold.one"
    with pytest.raises(NotFoundError, match=r"silver\.table_7\b"):
        catalog.table("silver.tabel_7")


def test_errors_cross_process_boundaries() -> None:
    error = NotFoundError("no table x", next_step="Did you mean y?", near=("y",), name="x")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.near, again.name) == ("no table x. Did you mean y?", ("y",), "x")
    errors = [
        value
        for value in (getattr(package, name) for name in package.__all__)
        if isinstance(value, type) and issubclass(value, package.LakehouseError)
    ]
    assert len(errors) == 10
    for kind in errors:
        assert str(pickle.loads(pickle.dumps(kind("a!", next_step="B")))) == "a! B"
