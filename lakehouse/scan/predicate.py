"""Check a predicate before rows are changed by it: what it names, and when it is NULL."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from catalog.errors import InputError
from lakehouse.duck.engine import Connection, Engine
from lakehouse.scan.expression import Node, is_null_constant, lower, parse_expression

# What is NULL only where one of its parts is.
_STRICT = re.compile(
    r"COMPARE_(EQUAL|NOTEQUAL|(LESS|GREATER)THAN(OREQUALTO)?|BETWEEN|(NOT_)?IN|(NOT_)?DISTINCT_FROM)"
    r"|CONJUNCTION_(AND|OR)|OPERATOR_(NOT|IS_NULL|IS_NOT_NULL)"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Predicate:
    """Hold a checked predicate.

    ``text`` is what the caller wrote, ``sql`` what is run: a single expression in which the
    current time is a constant. ``names`` are the names in it, in lower case, without those of
    struct fields: columns and parameters of lambdas. ``null_with`` are columns such that it is
    NULL at most where one of them is; None where that is not known. ``constant`` is its value
    where it names nothing, else None.
    """

    text: str
    sql: str
    names: frozenset[str]
    null_with: frozenset[str] | None
    constant: bool | None


def parse_predicate(text: str, *, columns: tuple[str, ...], engine: Engine) -> Predicate:
    """Return a predicate over a table's rows, checked; InputError where it cannot be used.

    Refused are what is no single expression, subqueries, parameters, and functions whose value
    is not fixed by the row (``random`` ...). ``now()``, ``current_date`` and the like become
    constants.
    """
    if not text.strip():
        raise InputError(
            "a predicate is expected", next_step="Pass SQL such as where=\"day < '2024-01-01'\""
        )
    found = parse_expression(text, columns=columns, engine=engine, what="a predicate")
    null_with = _null_with(found.tree, frozenset(name.lower() for name in columns))
    names = frozenset(parts[0] for parts in found.references)
    constant = None
    if not names:
        with engine.work("read the predicate") as cursor:
            constant = _value(cursor, found.sql)
    return Predicate(text, found.sql, names, null_with, constant)


def no_predicate(text: str, type_: str) -> InputError:
    """Return the error for an expression that is neither true nor false."""
    return InputError(
        f"a predicate is true or false, and this is {type_}: {text[:200]}",
        next_step="Compare it with a value",
    )


def _value(cursor: Connection, sql: str) -> bool:
    type_, matches = f"SELECT typeof(({sql}\n))", f"SELECT 1 FROM (SELECT 1) WHERE ({sql}\n)"
    row = cursor.execute(type_).fetchone()
    assert row is not None
    if row[0] not in ("BOOLEAN", '"NULL"'):
        raise no_predicate(sql, row[0])
    return cursor.execute(matches).fetchone() is not None


def _null_with(tree: Node, columns: frozenset[str]) -> frozenset[str] | None:
    """Return the columns that decide whether the predicate is NULL, if nothing else does."""
    if tree["class"] == "COLUMN_REF":
        name = str(tree["column_names"][0]).lower()
        # A name of several parts is a struct's field, or has the table's before it.
        return frozenset((name,)) if [name] == lower(tree) and name in columns else None
    if tree["class"] == "CAST" and not tree["try_cast"]:
        return _null_with(tree["child"], columns) if tree["child"]["class"] == "CONSTANT" else None
    if tree["class"] == "CONSTANT":
        return None if is_null_constant(tree) else frozenset()
    if not _STRICT.fullmatch(tree["type"]):
        return None
    parts = [_null_with(child, columns) for child in _children(tree)]
    return None if None in parts else frozenset().union(*(part for part in parts if part))


def _children(tree: Node) -> Iterator[Node]:
    for value in tree.values():
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, dict) and "class" in child:
                yield child
