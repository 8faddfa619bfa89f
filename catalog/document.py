"""The catalog's document: how a state and the change that led to it are written as JSON.

A document is one version of the whole catalog, `_catalog/00000000000000000017.json`::

    {
        "format": 1,
        "version": 17,
        "change": {
            "token": "9f0c...",
            "operation": "add table",
            "names": ["silver.flights"],
            "user": "ada",
            "timestamp": "2026-01-31T12:00:00+00:00",
        },
        "layers": {"bronze": {}, "silver": {"description": "typed and deduplicated"}},
        "tables": {
            "silver.flights": {
                "id": "5d1f...",
                "location": "silver/flights-5d1f",
                "managed": true,
                "created": "2026-01-31T12:00:00+00:00",
                "description": "...",
                "owner": "...",
                "tags": {"pii": "no"},
                "head": 12,
            }
        },
        "views": {
            "gold.delays": {
                "sql": "SELECT carrier, avg(delay) AS delay FROM silver.flights GROUP BY ALL",
                "depends_on": ["silver.flights"],
                "created": "2026-01-31T12:00:00+00:00",
                "description": "...",
                "owner": "...",
            }
        },
    }

`change` says what led here; its token is how a writer recognises its own document when the
answer to a put was lost. Fields that are null or empty are left out; a missing `head` means the
table's latest version. A managed `location` is relative to the lake's root, any other is a URI.
`views` is left out where there is none, so that software from before views goes on as long as a
lake has none; it refuses a document that has some.

Top-level fields reserved for what is to come: `heads` (pins of a lake-wide transaction),
`snapshots` (named sets of table versions), `grants`. A document with a field that
this version does not know is refused, never rewritten without it; a field that older software
must not ignore raises `format`.
"""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from catalog.errors import CorruptionError, UnsupportedError
from catalog.names import validate_layer, validate_table_name
from catalog.state import CatalogChange, CatalogState, LayerEntry, TableEntry, ViewEntry
from catalog.storage.location import check_relative, parse

Value = TypeVar("Value")
FORMAT = 1
_TOP = {"format", "version", "change", "layers", "tables", "views"}
_CHANGE = {"token", "operation", "names", "user", "timestamp"}
_LAYER = {"description"}
_TABLE = {"id", "location", "managed", "created", "description", "owner", "tags", "head"}
_VIEW = {"sql", "depends_on", "created", "description", "owner"}


def encode(state: CatalogState, change: CatalogChange, *, token: str) -> bytes:
    """Write a state and the change that led to it as a document."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": state.version,
        "change": {
            "token": token,
            "operation": change.operation,
            "names": list(change.names),
            "user": change.user,
            "timestamp": change.timestamp.isoformat(),
        },
        "layers": {
            layer.name: _compact({"description": layer.description})
            for layer in state.layers.values()
        },
        "tables": {table.name: _encode_table(table) for table in state.tables.values()},
    }
    if state.views:
        document["views"] = {view.name: _encode_view(view) for view in state.views.values()}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def decode(data: bytes, *, where: str) -> CatalogState:
    """Read the state from a document; `where` names it in errors.

    Raise CorruptionError for one that is damaged and UnsupportedError for one that newer
    software wrote.
    """
    document = _parse(data, where=where)

    def read() -> CatalogState:
        _refuse_unknown(document, _TOP, where)
        layers = {name: _decode_layer(name, raw, where) for name, raw in document["layers"].items()}
        tables = {name: _decode_table(name, raw, where) for name, raw in document["tables"].items()}
        for table in tables.values():
            if table.layer not in layers:
                raise ValueError(f"table {table.name} is in no layer")
        raw_views = document.get("views", {})
        views = {name: _decode_view(name, raw, where) for name, raw in raw_views.items()}
        for view in views.values():
            if view.layer not in layers or view.name in tables:
                raise ValueError(f"view {view.name} is in no layer, or a table too")
            for name in view.depends_on:
                if name not in tables and name not in views:
                    raise ValueError(f"view {view.name} reads {name}, which is not there")
        timestamp = datetime.fromisoformat(document["change"]["timestamp"])
        return CatalogState(_whole(document["version"]), timestamp, layers, tables, views)

    return _guard(read, where)


def decode_change(data: bytes, *, where: str) -> tuple[CatalogChange, str]:
    """Read the change and its token from a document."""
    document = _parse(data, where=where)

    def read() -> tuple[CatalogChange, str]:
        raw = document["change"]
        _refuse_unknown(raw, _CHANGE, where)
        change = CatalogChange(
            version=_whole(document["version"]),
            timestamp=datetime.fromisoformat(raw["timestamp"]),
            operation=_text(raw["operation"]),
            names=tuple(map(_text, raw["names"])),
            user=_optional_text(raw.get("user")),
        )
        return change, _text(raw["token"])

    return _guard(read, where)


def _parse(data: bytes, *, where: str) -> dict[str, Any]:
    def read() -> dict[str, Any]:
        document = json.loads(data)
        if not isinstance(document, dict):
            raise TypeError("not an object")
        number = _whole(document["format"])
        if number > FORMAT:
            raise UnsupportedError(
                f"catalog document {where} has format {number}; this version reads up to {FORMAT}",
                next_step="Upgrade lakehouse-storage",
                format=number,
            )
        return document

    return _guard(read, where)


def _guard(read: Callable[[], Value], where: str) -> Value:
    try:
        return read()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        detail = f"lacks {error}" if type(error) is KeyError else str(error)
        raise CorruptionError(
            f"catalog document {where} is damaged: {detail}",
            next_step="Restore it from a backup; or, giving up the change that it made, move it"
            " away so that the document before it counts again",
            path=where,
        ) from error


def _encode_table(table: TableEntry) -> dict[str, Any]:
    return _compact(
        {
            "id": table.id,
            "location": table.location,
            "managed": table.managed,
            "created": table.created.isoformat(),
            "description": table.description,
            "owner": table.owner,
            "tags": dict(table.tags) or None,
            "head": table.head,
        }
    )


def _encode_view(view: ViewEntry) -> dict[str, Any]:
    return _compact(
        {
            "sql": view.sql,
            "depends_on": list(view.depends_on),
            "created": view.created.isoformat(),
            "description": view.description,
            "owner": view.owner,
        }
    )


def _decode_view(name: str, raw: dict[str, Any], where: str) -> ViewEntry:
    _refuse_unknown(raw, _VIEW, where)
    validate_table_name(name)
    if not isinstance(raw["depends_on"], list):
        raise TypeError(f"view {name} has a field of the wrong type")
    return ViewEntry(
        name=name,
        sql=_text(raw["sql"]),
        depends_on=tuple(map(_text, raw["depends_on"])),
        created=datetime.fromisoformat(raw["created"]),
        description=_optional_text(raw.get("description")),
        owner=_optional_text(raw.get("owner")),
    )


def _decode_layer(name: str, raw: dict[str, Any], where: str) -> LayerEntry:
    _refuse_unknown(raw, _LAYER, where)
    return LayerEntry(validate_layer(name), _optional_text(raw.get("description")))


def _decode_table(name: str, raw: dict[str, Any], where: str) -> TableEntry:
    _refuse_unknown(raw, _TABLE, where)
    validate_table_name(name)
    managed, location, tags = raw["managed"], _text(raw["location"]), raw.get("tags", {})
    if not isinstance(managed, bool) or not isinstance(tags, dict):
        raise TypeError(f"table {name} has a field of the wrong type")
    if managed:
        check_relative(location)
    else:
        parse(location)
    head = raw.get("head")
    return TableEntry(
        name=name,
        id=_text(raw["id"]),
        location=location,
        managed=managed,
        created=datetime.fromisoformat(raw["created"]),
        description=_optional_text(raw.get("description")),
        owner=_optional_text(raw.get("owner")),
        tags={_text(key): _text(value) for key, value in tags.items()},
        head=None if head is None else _whole(head),
    )


def _compact(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _refuse_unknown(raw: dict[str, Any], known: set[str], where: str) -> None:
    if unknown := raw.keys() - known:
        raise UnsupportedError(
            f"catalog document {where} holds {', '.join(sorted(unknown))}, unknown to this version",
            next_step="Upgrade lakehouse-storage",
        )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is not a whole number")
    return value
