"""Put a query's constants into the filters that the plan of another query of its shape had.

The plan of one query tells which columns are meant, and that DuckDB takes constants of this kind,
beside columns of this type, for what they are taken for here. Where a constant may be taken for
something else there are no filters, and a query is planned by itself. Pure.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Sequence

from lakehouse.delta.files.layout import Layout
from lakehouse.delta.schema.fields import Primitive
from lakehouse.duck.sql import literal, moment_text
from lakehouse.scan.bounds import BITS
from lakehouse.scan.plain import COLUMN, CONSTANT, conditions
from lakehouse.scan.shapes import Constant, Shape

_WHOLE = re.compile(r"-?\d{1,19}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d"
    r"(?:[ T](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?(?P<zone>[+-]\d\d(?::\d\d)?)?)?"
)
_PARTS = re.compile(rf"{COLUMN.pattern}|(?P<constant>{CONSTANT.pattern})")


@dataclasses.dataclass(frozen=True, slots=True)
class Template:
    """Hold the filters of a plan with gaps, by number, for the constants of a shape.

    ``types`` are those of the columns that constants are compared with, one for each.
    """

    filters: tuple[tuple[str | int, ...], ...]
    types: tuple[str, ...]

    def filled(self, shape: Shape, *, utc: bool) -> tuple[str, ...] | None:
        """Return the filters for a query of the same shape; None where a constant is out of it."""
        constants = _shown([c for term in shape.terms for c in term.constants], self.types, utc=utc)
        if constants is None:
            return None
        return tuple(
            "".join(part if isinstance(part, str) else constants[part] for part in parts)
            for parts in self.filters
        )


def template(shape: Shape, filters: Sequence[str], layout: Layout, *, utc: bool) -> Template | None:
    """Return a shape's template from the plan of a query; None if filters say more, or less.

    ``utc`` says that times without a zone are UTC.
    """
    columns = [_column(term.name, layout) for term in shape.terms]
    types = [None if column is None else _type(column, layout) for column in columns]
    if None in types:
        return None
    flat = [
        (str(type_), constant)
        for type_, term in zip(types, shape.terms, strict=True)
        for constant in term.constants
    ]
    each = tuple(type_ for type_, _ in flat)
    constants = _shown([constant for _, constant in flat], each, utc=utc)
    if constants is None or len(set(constants)) < len(constants):
        return None
    asked, at = set(), 0
    for column, term in zip(columns, shape.terms, strict=True):
        some = frozenset(constants[at : at + len(term.constants)])
        asked.add((column, term.operator, some))
        at += len(term.constants)
    known = conditions(filters, layout) or ()
    if asked != {(one.column, one.operator, frozenset(one.constants)) for one in known}:
        return None
    return Template(tuple(_gaps(text, list(constants)) for text in filters), each)


def _gaps(text: str, constants: list[str]) -> tuple[str | int, ...]:
    """Return a filter's text, cut at its constants, all of which are known: these by number."""
    parts: list[str | int] = []
    end = 0
    for match in _PARTS.finditer(text):
        if match["constant"]:
            parts += [text[end : match.start()], constants.index(match["constant"])]
            end = match.end()
    return (*parts, text[end:])


def _column(name: str, layout: Layout) -> int | None:
    found = [i for i, f in enumerate(layout.schema) if f.name.lower() == name.lower()]
    return found[0] if len(found) == 1 else None


def _type(column: int, layout: Layout) -> str | None:
    type_ = layout.schema.fields[column].type
    return type_.name if isinstance(type_, Primitive) else None


def _shown(
    constants: Sequence[Constant], types: Sequence[str], *, utc: bool
) -> tuple[str, ...] | None:
    """Return constants as a plan shows them where they are compared with columns of such types."""
    shown = [_as_shown(*pair, utc=utc) for pair in zip(constants, types, strict=True)]
    known = tuple(text for text in shown if text is not None)
    return known if len(known) == len(shown) else None


def _as_shown(constant: Constant, type_: str, *, utc: bool) -> str | None:
    kind, text = constant.kind, constant.text
    if type_ in BITS:
        number = int(text) if kind == "number" and _WHOLE.fullmatch(text) else None
        return str(number) if number is not None and number.bit_length() < BITS[type_] else None
    if type_ == "string":
        return literal(text) if kind == "text" and "\0" not in text else None
    if kind == "number":
        return None
    if type_ == "date":
        is_day = kind in ("text", "date") and _DAY.fullmatch(text)
        return f"'{text}'::DATE" if is_day and _parsed(text) is not None else None
    return _moment(kind, text, type_, utc=utc)


def _moment(kind: str, text: str, type_: str, *, utc: bool) -> str | None:
    match = _MOMENT.fullmatch(text)
    if match is None or (kind == "date" and not _DAY.fullmatch(text)):
        return None
    found = _parsed(text)
    if found is None:
        return None
    if type_ == "timestamp_ntz":
        is_plain = match["zone"] is None and kind != "timestamptz"
        return f"'{moment_text(found)}'::TIMESTAMP" if is_plain else None
    if type_ != "timestamp":
        return None
    if match["zone"] is None:
        # A time zone's own rules say which moment is meant.
        return f"'{moment_text(found)}+00'::TIMESTAMP WITH TIME ZONE" if utc else None
    if kind not in ("text", "timestamptz"):
        return None
    try:
        found = found.astimezone(dt.UTC).replace(tzinfo=None)
    except OverflowError:
        return None
    return f"'{moment_text(found)}+00'::TIMESTAMP WITH TIME ZONE"


def _parsed(text: str) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        return None
