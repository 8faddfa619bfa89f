"""Find the lake's tables in a query's text, and their time travel.

Only names are looked for, token by token: everything else goes to DuckDB as it was written. A
pair of names that is no table (an alias and its column, say) costs a view that is not used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from catalog.errors import InputError, NotFoundError
from lakehouse.delta.change_data import CHANGE_TYPE, OF_FILE
from lakehouse.duck.sql import identifier
from lakehouse.scan.tokens import Token
from lakehouse.scan.tokens import tokens as tokens_of

_NAMES = ("word", "quoted")
_NOT_ALIASES = frozenset(
    [
        "where",
        "group",
        "order",
        "limit",
        "join",
        "inner",
        "left",
        "right",
        "full",
        "cross",
        "natural",
        "on",
        "using",
        "union",
        "except",
        "intersect",
        "having",
        "qualify",
        "window",
        "sample",
        "tablesample",
        "asof",
        "positional",
        "semi",
        "anti",
        "offset",
        "pivot",
        "unpivot",
        "lateral",
        "set",
        "returning",
        "values",
        "select",
        "from",
    ]
)


@dataclasses.dataclass(frozen=True, slots=True)
class At:
    """Hold a point in time: ``VERSION => n`` or ``TIMESTAMP => expression``, as SQL text.

    Kind ``changes`` are those of a range: one expression, or two with a comma between.

    ``parameters`` are the positions among the query's ``?`` of those in the expression.
    """

    kind: str
    expression: str
    parameters: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """Hold a table's mention: layer, name, time travel, and the view's name in the query."""

    layer: str
    table: str
    at: At | None
    view: str

    @property
    def name(self) -> str:
        """Return the whole name, as the catalog has it."""
        return f"{self.layer}.{self.table}"

    @property
    def place(self) -> tuple[str, str]:
        """Return where its view stands in the query: schema and name."""
        return self.layer, self.view


Resolve = Callable[[str, str], tuple[str, str] | None]


def references(
    sql: str, resolve: Resolve, *, within: str = ""
) -> tuple[str, tuple[Reference, ...], tuple[str, ...]]:
    """Return the query to run, the tables in it, and pairs of names that are no table.

    ``resolve`` returns a table's layer and name for a pair of names in any case, or None. A
    mention with time travel (``silver.flights AT (VERSION => 3)``) is replaced by its own view,
    named by number: an expression in the name would make a view for each value. ``within`` tells
    the mentions of one text from those of another.
    """
    tokens = tokens_of(sql)
    found: dict[tuple[str, str, At | None], Reference] = {}
    others: list[str] = []
    out, end, index = [], 0, 0
    while index + 2 < len(tokens):
        first, _, second = tokens[index : index + 3]
        changes = _changes(sql, tokens, index, resolve)
        if changes is not None:
            place, span, stop = changes
            known = found.get((*place, span))
            view = f"{place[1]}@{len(found)}{within}" if known is None else known.view
            found[(*place, span)] = known or Reference(*place, span, view)
            out += [sql[end : first.start], changes_of(place[0], view)]
            end, index = tokens[stop - 1].end, stop
            continue
        pair = _is_mark(tokens, index + 1, ".") and first.kind in _NAMES and second.kind in _NAMES
        if not pair or (index and _is_mark(tokens, index - 1, ".")):
            index += 1
            continue
        name = resolve(first.text, second.text)
        if name is None:
            others.append(f"{first.text}.{second.text}")
            index += 2
            continue
        index += 3
        at, alias, stop = _time_travel(sql, tokens, index)
        known = found.get((*name, at))
        view = (
            name[1]
            if at is None
            else f"{name[1]}@{len(found)}{within}"
            if known is None
            else known.view
        )
        found[(*name, at)] = known or Reference(*name, at, view)
        if at is not None:
            shown = alias or name[1]
            out += [
                sql[end : first.start],
                f"{identifier(name[0])}.{identifier(view)} AS {identifier(shown)}",
            ]
            end = tokens[stop - 1].end
            index = stop
    out.append(sql[end:])
    return "".join(out), tuple(found.values()), tuple(others)


def changes_of(layer: str, view: str) -> str:
    """Return SQL, for a FROM clause, of the change data feed whose files a view reads."""
    kind = f"coalesce({OF_FILE}, {CHANGE_TYPE}) AS {CHANGE_TYPE}"
    place = f"{identifier(layer)}.{identifier(view)}"
    return f"(SELECT * EXCLUDE ({OF_FILE}) REPLACE ({kind}) FROM {place})"


def _changes(
    sql: str, tokens: list[Token], index: int, resolve: Resolve
) -> tuple[tuple[str, str], At, int] | None:
    """Return what ``table_changes('layer.table', since[, until])`` names, and where it ends."""
    if not _is_word(tokens, index, "table_changes") or not _is_mark(tokens, index + 1, "("):
        return None
    close = _closing(tokens, index + 1)
    named = tokens[index + 2]
    if close is None or named.kind != "text" or not _is_mark(tokens, index + 3, ","):
        raise InputError(
            "table_changes takes a table's name as text, and a version or time",
            next_step="Write table_changes('silver.orders', 3) or table_changes('silver.orders', 3, 5)",
        )
    layer, _, table = named.text.partition(".")
    name = resolve(layer, table)
    if name is None:
        raise NotFoundError(
            f"no table {named.text}", next_step="See lake.tables() for the tables that there are"
        )
    expression = sql[tokens[index + 4].start : tokens[close].start].strip()
    return name, At("changes", expression, _parameters(tokens, index + 4, close)), close + 1


def _parameters(tokens: list[Token], first: int, stop: int) -> tuple[int, ...]:
    """Return which of the query's ``?`` stand in a range of tokens."""
    marks = [
        n for n, token in enumerate(tokens) if token.kind == "parameter" and token.text[0] == "?"
    ]
    return tuple(position for position, n in enumerate(marks) if first <= n < stop)


def _time_travel(sql: str, tokens: list[Token], index: int) -> tuple[At | None, str | None, int]:
    """Return the time travel after a name, the alias around it, and where both end."""
    alias, start = alias_at(tokens, index)
    if not _is_word(tokens, start, "at") or not _is_mark(tokens, start + 1, "("):
        if not _is_word(tokens, index, "at") or not _is_mark(tokens, index + 1, "("):
            return None, None, index
        alias, start = None, index
    close = _closing(tokens, start + 1)
    if close is None:
        return None, None, index
    kind = tokens[start + 2].text.lower()
    first = start + 4
    if _is_mark(tokens, start + 3, "=") and _is_mark(tokens, first, ">"):
        first += 1
    elif not _is_mark(tokens, start + 3, "=>"):
        return None, None, index
    if kind not in ("version", "timestamp"):
        raise InputError(
            f"AT ({kind.upper()} => ...) is not known",
            next_step="Use AT (VERSION => 3) or AT (TIMESTAMP => '2024-01-31 12:00')",
        )
    expression = sql[tokens[first].start : tokens[close].start].strip()
    stop = close + 1
    if alias is None:
        alias, stop = alias_at(tokens, stop)
    return At(kind, expression, _parameters(tokens, first, close)), alias, stop


def alias_at(tokens: list[Token], index: int) -> tuple[str | None, int]:
    """Return the alias that stands at a position, if one does, and where it ends."""
    if _is_word(tokens, index, "as") and index + 1 < len(tokens):
        return tokens[index + 1].text, index + 2
    if index < len(tokens) and tokens[index].kind in _NAMES:
        text = tokens[index].text
        quoted = tokens[index].kind == "quoted"
        if quoted or (text.lower() not in _NOT_ALIASES and text.lower() != "at"):
            return text, index + 1
    return None, index


def _closing(tokens: list[Token], opening: int) -> int | None:
    depth = 0
    for index in range(opening, len(tokens)):
        if _is_mark(tokens, index, "("):
            depth += 1
        elif _is_mark(tokens, index, ")"):
            depth -= 1
            if depth == 0:
                return index
    return None


def _is_word(tokens: list[Token], index: int, word: str) -> bool:
    return index < len(tokens) and tokens[index].text.lower() == word


def _is_mark(tokens: list[Token], index: int, mark: str) -> bool:
    return index < len(tokens) and tokens[index].kind == "mark" and tokens[index].text == mark
