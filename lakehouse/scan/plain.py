"""Read the filters that most queries have without a parser of SQL.

These are comparisons of a column with a whole number, a decimal, a text, a date or a time, and IS
NULL, joined by AND; some of those, joined by OR; and lists of constants. That the remainder of a
column is something, or all of it not true, rules out no file. `lakehouse.scan.prune`
reads all filters, and says the same of these; but the parser that it takes needs a tenth of a
second to import, and as long for a thousand constants.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import cast

from lakehouse.delta.files.layout import Layout
from lakehouse.delta.schema.fields import FLOATS, Field
from lakehouse.scan.bounds import Operator, bounds_of, compare, is_null, one_of
from lakehouse.scan.may import EVERY, May, all_of, any_of

# To plan with more text takes longer than to open the files that it would rule out.
LONGEST = 200_000
COLUMN = re.compile(r"c(\d+)_[0-9a-f]{20}")
CONSTANT = re.compile(
    r"-?\d+(?:\.\d+)?|(?P<text>'[^']*(?:''[^']*)*')(?:::(?P<type>DATE|TIMESTAMP(?: WITH TIME ZONE)?))?"
)
_CONDITION = re.compile(
    rf"""
    {COLUMN.pattern}(?P<remainder>\ %\ -?\d+\))?(?P<rest>
        \ ?(?P<operator>[!<>]=|[=<>])\ ?(?:
            (?P<number>-?\d+(?:\.\d+)?)
            |(?P<text>'[^']*(?:''[^']*)*')(?:::(?P<type>DATE|TIMESTAMP(?:\ WITH\ TIME\ ZONE)?))?
        )
        |\ IS\ (?P<not>NOT\ )?NULL
    )
    """,
    re.VERBOSE,
)
# What is left of a filter when each condition in it is a zero byte, which SQL cannot hold: where
# all is joined by AND, parentheses do not matter.
_CONJUNCTION = re.compile(r"\(*\0\)*(?: AND \(*\0\)*)*")
# Here they do, and stand as DuckDB writes them: around each condition, each part, and the whole.
_PART = r"(?:\(\0\)|\(\(\0\)(?: AND \(\0\))+\))"
_DISJUNCTION = re.compile(rf"\({_PART}(?: OR {_PART})+\)")
_NOT_TRUE = re.compile(r"\((.+) IS DISTINCT FROM true\)")

_VALUE = r"(?:-?\d+(?:\.\d+)?|'[^']*(?:''[^']*)*'(?:::DATE|::TIMESTAMP(?: WITH TIME ZONE)?)?)"
_LIST = re.compile(rf"\(?{COLUMN.pattern} IN \((?P<values>{_VALUE}(?:, {_VALUE})*)\)\)?")
_EQUAL = rf"\(?{COLUMN.pattern} ?= ?{_VALUE}\)?"
_EITHER = re.compile(rf"\({_EQUAL}(?: OR {_EQUAL})+\)")
_ONE_EQUAL = re.compile(rf"{COLUMN.pattern} ?= ?(?P<value>{_VALUE})")
_EACH = re.compile(_VALUE)


@dataclasses.dataclass(frozen=True, slots=True)
class Condition:
    """Hold a comparison of a column with a constant, or with any of several by ``=``."""

    column: int
    operator: Operator
    constants: tuple[str, ...]


def conditions(filters: Sequence[str], layout: Layout) -> list[Condition] | None:
    """Return what all holds for a matching row, as far as it is plain; None where some is not."""
    found: list[Condition] = []
    for text in () if awkward_names(layout) else filters:
        listed, equal = _LIST.fullmatch(text), list(_ONE_EQUAL.finditer(text))
        if listed:
            found.append(Condition(int(listed[1]), "=", tuple(_EACH.findall(listed["values"]))))
        elif _EITHER.fullmatch(text) and len({match[1] for match in equal}) == 1:
            values = tuple(match["value"] for match in equal)
            found.append(Condition(int(equal[0][1]), "=", values))
        elif _CONJUNCTION.fullmatch(_CONDITION.sub("\0", text)):
            for match in _CONDITION.finditer(text):
                if match["operator"] is None or match["remainder"]:
                    return None
                value = match["rest"].lstrip("!<>= ")
                found.append(Condition(int(match[1]), cast(Operator, match["operator"]), (value,)))
        else:
            return None
    return found or None


def may_match(filters: Sequence[str], layout: Layout) -> May | None:
    """Return which files may hold a matching row; None where filters need a parser.

    ``filters``, as a plan shows them, all hold for a matching row.
    """
    if awkward_names(layout):
        return None
    found = [_filter(text, layout) for text in filters]
    known = [may for may in found if may is not None]
    return all_of(known) if len(known) == len(found) else None


def awkward_names(layout: Layout) -> tuple[str, ...]:
    """Return the names of nested fields that a plan shows unquoted and that need quotes."""
    names = (field.name for leaf in layout.leaves for field in leaf.path[1:])
    return tuple(name for name in names if not re.fullmatch(r"\w+", name))


def _filter(text: str, layout: Layout) -> May | None:
    if len(text) > LONGEST:
        return EVERY
    listed, shape = _LIST.fullmatch(text), _CONDITION.sub("\0", text)
    if negated := _NOT_TRUE.fullmatch(shape):
        partitioned = any(_partition(c, layout) is not None for c in _CONDITION.finditer(text))
        known = _CONJUNCTION.fullmatch(negated[1]) or _DISJUNCTION.fullmatch(negated[1])
        return EVERY if known and not partitioned else None
    if listed:
        found, may = [listed], _one_of(listed, layout)
        of_index = COLUMN.sub(lambda c: f"p{_partition(c, layout)}", text, count=1)
    else:
        found = list(_CONDITION.finditer(text))
        if _DISJUNCTION.fullmatch(shape):
            may = _some(found, shape, layout)
        elif _CONJUNCTION.fullmatch(shape):
            may = _all(found, layout)
        else:
            return None
        of_index = _CONDITION.sub(lambda c: f"p{_partition(c, layout)}{c['rest']}", text)
    if may is not None and all(_partition(match, layout) is not None for match in found):
        return May(f"coalesce(({of_index}), false)", may.needs)
    return may


def _all(conditions: Sequence[re.Match[str]], layout: Layout) -> May | None:
    parts = [_condition(condition, layout) for condition in conditions]
    known = [part for part in parts if part is not None]
    return all_of(known) if len(known) == len(parts) else None


def _some(conditions: Sequence[re.Match[str]], shape: str, layout: Layout) -> May | None:
    """Return which files may hold a row that some part of a disjunction is true for."""
    parts: list[May] = []
    for part in shape.split(" OR "):
        may = _all(conditions[: part.count("\0")], layout)
        if may is None:
            return None
        parts.append(may)
        conditions = conditions[part.count("\0") :]
    return any_of(parts)


def _one_of(listed: re.Match[str], layout: Layout) -> May | None:
    field = _field(listed, layout)
    if field is None:
        return None
    constants = [_constant(CONSTANT.fullmatch(value)) for value in _EACH.findall(listed["values"])]
    ordinal = _partition(listed, layout)
    if ordinal is not None:
        sql = f"p{ordinal} IN ({', '.join(constants)})"
        return May(f"coalesce({sql}, false)", {f"p{ordinal}": f"({sql})"})
    leaf = next((leaf for leaf in layout.leaves if leaf.path == (field,)), None)
    bounds = None if leaf is None else bounds_of(leaf)
    return EVERY if bounds is None else one_of(bounds, constants)


def _field(found: re.Match[str], layout: Layout) -> Field | None:
    """Return the column that a match begins with, where it can be compared here."""
    if int(found[1]) >= len(layout.schema.fields):
        return None
    field = layout.schema.fields[int(found[1])]
    # Numbers are of several types there, and NaN is one.
    return None if field.type in FLOATS else field


def _constant(found: re.Match[str] | None) -> str:
    """Return a constant as SQL."""
    assert found is not None
    if not found["type"]:
        return found["text"] or found[0]
    type_ = found["type"].replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")
    return f"CAST({found['text']} AS {type_})"


def _condition(condition: re.Match[str], layout: Layout) -> May | None:
    if condition["remainder"]:
        return EVERY if _partition(condition, layout) is None else None
    field = _field(condition, layout)
    if field is None:
        return None
    constant = None
    if condition["operator"] is not None:
        constant = _constant(CONSTANT.fullmatch(condition["rest"].lstrip("!<>= ")))
    ordinal = _partition(condition, layout)
    if ordinal is not None:
        if constant is None:
            sql = f"NOT (p{ordinal} IS NULL)" if condition["not"] else f"p{ordinal} IS NULL"
        else:
            sql = f"p{ordinal} {condition['operator'].replace('!=', '<>')} {constant}"
        return May(f"coalesce({sql}, false)", {f"p{ordinal}": f"({sql})"})
    leaf = next((leaf for leaf in layout.leaves if leaf.path == (field,)), None)
    if leaf is None:
        return EVERY
    if constant is None:
        return is_null(leaf, want=not condition["not"])
    bounds = bounds_of(leaf)
    if bounds is None:
        return EVERY
    return compare(bounds, cast(Operator, condition["operator"]), constant)


def _partition(condition: re.Match[str], layout: Layout) -> int | None:
    if int(condition[1]) >= len(layout.schema.fields):
        return None
    name = layout.schema.fields[int(condition[1])].name
    columns = layout.partition_columns
    return columns.index(name) if name in columns else None
