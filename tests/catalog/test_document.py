"""Documents that are damaged, hostile or from the future."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.changes import AddTable, DeclareLayer, apply
from catalog.document import decode, decode_change, encode
from catalog.errors import CorruptionError, UnsupportedError
from catalog.state import CatalogChange, CatalogState

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def sound() -> bytes:
    table = AddTable(name="silver.a", id="1", location="a", managed=True, tags={"k": "v"})
    state = apply(CatalogState(-1, NOW), [DeclareLayer("silver"), table], root="/lake", now=NOW)
    return encode(state, CatalogChange(0, NOW, "x", ("silver.a",), "ada"), token="t")


def edited(path: str, value: Any) -> bytes:
    document = json.loads(sound())
    *parents, last = path.split("/")
    target = document
    for key in parents:
        target = target[key]
    if value is KeyError:
        del target[last]
    else:
        target[last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", KeyError),
        ("format", "1"),
        ("version", KeyError),
        ("version", -1),
        ("version", 1.5),
        ("change", None),
        ("change/timestamp", "yesterday"),
        ("layers", []),
        ("layers", {"../x": {}}),
        ("layers", {}),
        ("layers/silver", None),
        ("tables", KeyError),
        ("tables", {"silver.a b": {}}),
        ("tables/silver.a", 1),
        ("tables/silver.a/id", KeyError),
        ("tables/silver.a/id", 7),
        ("tables/silver.a/managed", "yes"),
        ("tables/silver.a/location", "../../etc"),
        ("tables/silver.a/location", "/etc"),
        ("tables/silver.a/created", None),
        ("tables/silver.a/tags", {"k": 1}),
        ("tables/silver.a/head", -1),
    ],
)
def test_damage_is_named(path: str, value: object) -> None:
    with pytest.raises(CorruptionError, match=r"document s3://b/17\.json is damaged") as caught:
        decode(edited(path, value), where="s3://b/17.json")
    assert "Restore it" in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"null", b"[]", b"\xff\xfe", b"[" * 100_000, b"1e999"])
def test_what_is_no_document(data: bytes) -> None:
    for read in (decode, decode_change):
        with pytest.raises(CorruptionError, match=r"17\.json"):
            read(data, where="17.json")


@given(st.data())
def test_no_damage_escapes_as_a_foreign_error(data: st.DataObject) -> None:
    document = bytearray(sound())
    for _ in range(data.draw(st.integers(1, 4))):
        document[data.draw(st.integers(0, len(document) - 1))] = data.draw(st.integers(0, 255))
    try:
        state = decode(bytes(document), where="17.json")
    except (CorruptionError, UnsupportedError):
        return
    assert set(state.tables) == {table.name for table in state.tables.values()}


def test_newer_formats_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"17\.json has format 2.*Upgrade"):
        decode(edited("format", 2), where="17.json")


@pytest.mark.parametrize("path", ["leases", "layers/silver/future", "tables/silver.a/future"])
def test_unknown_fields_are_refused_rather_than_lost(path: str) -> None:
    with pytest.raises(UnsupportedError, match=path.rpartition("/")[2]):
        decode(edited(path, {}), where="17.json")


def test_a_document_shows_what_it_is() -> None:
    assert json.loads(sound()) == {
        "format": 1,
        "version": 0,
        "change": {
            "token": "t",
            "operation": "x",
            "names": ["silver.a"],
            "user": "ada",
            "timestamp": "2026-01-31T12:00:00+00:00",
        },
        "layers": {"silver": {}},
        "tables": {
            "silver.a": {
                "id": "1",
                "location": "a",
                "managed": True,
                "created": "2026-01-31T12:00:00+00:00",
                "tags": {"k": "v"},
            }
        },
    }
