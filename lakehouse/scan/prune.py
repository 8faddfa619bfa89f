"""Turn a filter into "may this file hold a matching row", over the file index.

Pure: from the text of a filter, as DuckDB's plan shows it, to SQL over the index columns of
`lakehouse.delta.files.index`. What is not understood prunes nothing. Three rules carry it:

- a filter on partition columns only is evaluated as it stands: it is the same for all rows,
- a comparison with a constant becomes interval logic on minimum, maximum and NULL count,
- AND, OR and NOT compose; everything else, and every unknown statistic, keeps the file.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from functools import cached_property

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from lakehouse.delta.files.layout import Layout, Leaf
from lakehouse.delta.schema.fields import FLOATS, Decimal, Primitive
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.scan.bounds import Bounds, Operator, bounds_of, compare, is_null, one_of
from lakehouse.scan.may import DROP, EVERY, KEEP, NONE, May, all_of, any_of
from lakehouse.scan.monotone import argument, keeps_order
from lakehouse.scan.plain import COLUMN, LONGEST, awkward_names
from lakehouse.scan.volatile import AnyVolatile

_NUMBER = re.compile(r"-?[\d.]+(e[+-]?\d+)?", re.IGNORECASE)
# A number whose type DuckDB reads from its text: DOUBLE, or DECIMAL and rounded twice.
_INEXACT = re.compile(r"(?<![\w.])[\d.]+e[+-]?\d|(?<![\w.])[\d.]{8,}", re.IGNORECASE)
_FLIPPED: Mapping[type[exp.Expr], type[exp.Expr]] = {
    exp.EQ: exp.NEQ, exp.NEQ: exp.EQ, exp.LT: exp.GTE, exp.GTE: exp.LT,
    exp.GT: exp.LTE, exp.LTE: exp.GT,
}  # fmt: skip
_MIRRORED: Mapping[type[exp.Expr], type[exp.Expr]] = {
    exp.EQ: exp.EQ, exp.NEQ: exp.NEQ, exp.LT: exp.GT, exp.GT: exp.LT,
    exp.LTE: exp.GTE, exp.GTE: exp.LTE,
}  # fmt: skip
_OPERATORS: Mapping[type[exp.Expr], Operator] = {
    exp.EQ: "=", exp.NEQ: "!=", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
}  # fmt: skip
_COMPARISONS: tuple[type[exp.Expr], ...] = tuple(_FLIPPED)
# Expressions whose text means the same when sqlglot has read and written it.
_PLAIN: tuple[type[exp.Expr], ...] = (
    exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.And, exp.Or,
    exp.Not, exp.Is, exp.In, exp.Between, exp.Neg, exp.Add, exp.Sub, exp.Mul, *_COMPARISONS,
    exp.Cast, exp.DataType, exp.DataTypeParam, exp.Case, exp.If,
)  # fmt: skip
_LITERAL = (exp.Literal, exp.Boolean, exp.Neg, exp.Cast, exp.DataType, exp.DataTypeParam, exp.Paren)


def _none_is(_: Iterable[str]) -> bool:
    return False


@dataclasses.dataclass(frozen=True)
class Pruner:
    """Translate filters of one table; column ``c<i>_<key>`` is the schema's i-th.

    ``any_volatile`` tells whether a function that is called is one; by default, none is.
    """

    layout: Layout
    any_volatile: AnyVolatile = _none_is

    def may_match(self, filters: tuple[str, ...]) -> May:
        """Return which files may hold a matching row; the filters all hold for such a row."""
        if any("\n" in name for name in self._awkward):
            return EVERY  # filters cannot be told apart
        return all_of([self._filter(text) for text in filters])

    def all_match(self, filters: tuple[str, ...]) -> str:
        """Return SQL over the index that is true only for files in which every row matches."""
        if any("\n" in name for name in self._awkward):
            return DROP
        return " AND ".join(map(self._every, filters)) or KEEP

    def _every(self, text: str) -> str:
        if len(text) > LONGEST or any(name in text for name in self._awkward):
            return DROP
        try:
            parsed = sqlglot.parse_one(text, dialect="duckdb")
            may_fail = self._may(parsed, want=False).exact
        except (SqlglotError, RecursionError):
            return DROP
        if any(not isinstance(null.parent, exp.Is) for null in parsed.find_all(exp.Null)):
            return DROP  # NULL is not true, and not false either
        known = [f"NOT ({may_fail})"]
        for column in parsed.find_all(exp.Column):
            match, leaf = COLUMN.fullmatch(column.name), self._leaf(column)
            ordinal = self._partition(int(match[1])) if match and not column.table else None
            if ordinal is None and leaf is None:
                return DROP
            known.append(
                f"p{ordinal} IS NOT NULL"
                if leaf is None
                else f"coalesce(nulls{leaf.ordinal} = 0, false)"
            )
        return DROP if parsed.find(exp.TryCast) else f"({' AND '.join(known)})"

    def _filter(self, text: str) -> May:
        if len(text) > LONGEST or any(name in text for name in self._awkward):
            return EVERY
        try:
            parsed = sqlglot.parse_one(text, dialect="duckdb")
            may = self._may(parsed, want=True)
            exact = self._exact_text(text, parsed)
            return may if exact is None else May(exact, may.needs)
        except (SqlglotError, RecursionError):
            return EVERY

    @cached_property
    def _awkward(self) -> tuple[str, ...]:
        return awkward_names(self.layout)

    def _exact_text(self, text: str, parsed: exp.Expr) -> str | None:
        """Return a filter on partition columns only, with index columns in their place."""
        for column in parsed.find_all(exp.Column):
            match = COLUMN.fullmatch(column.name)
            if column.table or not match or self._partition(int(match[1])) is None:
                return None
        tokens = sqlglot.tokenize(text, dialect="duckdb")
        out, end, columns = [], 0, 0
        for index, token in enumerate(tokens):
            following = tokens[index + 1].token_type if index + 1 < len(tokens) else None
            if following == TokenType.L_PAREN and self.any_volatile((token.text.lower(),)):
                return None
            if token.token_type != TokenType.VAR or following == TokenType.L_PAREN:
                continue
            if not (match := COLUMN.fullmatch(token.text)):
                continue
            ordinal = self._partition(int(match[1]))
            if ordinal is None or self._is_inexact(ordinal, text):
                return None
            columns += 1
            out.append(f"{text[end : token.start]}p{ordinal}")
            end = token.end + 1
        if not columns:
            return None
        return f"coalesce(({''.join(out)}{text[end:]}), false)"

    def _partition(self, column: int) -> int | None:
        fields = self.layout.schema.fields
        if column >= len(fields):
            return None
        name = fields[column].name
        columns = self.layout.partition_columns
        return columns.index(name) if name in columns else None

    def _is_inexact(self, ordinal: int, text: str) -> bool:
        """Tell whether a number in the text may be another one beside this partition column."""
        is_float = self.layout.partitions[ordinal].type in FLOATS
        return is_float and _INEXACT.search(text) is not None

    def _may(self, node: exp.Expr, *, want: bool) -> May:
        """Tell: may ``node`` be true (or, unless ``want``, false) for a row of the file."""
        node = node.unnest() if isinstance(node, exp.Paren) else node
        if isinstance(node, exp.And | exp.Or):
            parts = [self._may(part, want=want) for part in node.flatten()]
            return all_of(parts) if isinstance(node, exp.And) == want else any_of(parts)
        if isinstance(node, exp.Not):
            return self._may(node.this, want=not want)
        if isinstance(node, exp.Boolean):
            return EVERY if bool(node.this) == want else NONE
        if isinstance(node, exp.Null):
            return NONE
        exact = self._exact_node(node, want=want)
        if exact is not None:
            return exact
        if isinstance(node, _COMPARISONS):
            return self._compare(node if want else _negated(node))
        if isinstance(node, exp.NullSafeEQ) and want:
            return self._compare(exp.EQ(this=node.this, expression=node.expression))
        if isinstance(node, exp.Is):
            return self._is_null(node, want=want)
        if isinstance(node, exp.In) and want:
            return self._in(node)
        if isinstance(node, exp.Between) and want:
            low = exp.GTE(this=node.this, expression=node.args["low"])
            high = exp.LTE(this=node.this, expression=node.args["high"])
            return all_of([self._compare(low), self._compare(high)])
        return EVERY

    def _exact_node(self, node: exp.Expr, *, want: bool) -> May | None:
        columns = list(node.find_all(exp.Column))
        if not columns or not all(isinstance(part, _PLAIN) for part in node.walk()):
            return None
        if node.find(exp.In) and any(part.args.get("query") for part in node.find_all(exp.In)):
            return None
        copy = node.copy()
        for column in list(copy.find_all(exp.Column)):
            match = COLUMN.fullmatch(column.name) if not column.table else None
            ordinal = self._partition(int(match[1])) if match else None
            if ordinal is None or self._is_inexact(ordinal, node.sql(dialect="duckdb")):
                return None
            if column is copy:
                copy = exp.column(f"p{ordinal}")
            else:
                column.replace(exp.column(f"p{ordinal}"))
        text = copy.sql(dialect="duckdb")
        text = text if want else f"NOT ({text})"
        names = {column.name for column in copy.find_all(exp.Column)}
        needs = dict.fromkeys(names, f"({text})") if len(names) == 1 else {}
        return May(f"coalesce({text}, false)", needs)

    def _compare(self, node: exp.Expr) -> May:
        left, right, kind = node.this, node.expression, type(node)
        if _constant(left) is not None:
            left, right, kind = right, left, _MIRRORED[kind]
        bounds, constant = self._bounds(left), _constant(right)
        if bounds is None or constant is None:
            return EVERY
        return compare(bounds, _OPERATORS[kind], _of_type(constant, bounds.leaf))

    def _in(self, node: exp.In) -> May:
        bounds = self._bounds(node.this)
        constants = [_constant(item) for item in node.expressions]
        if bounds is None or not constants or None in constants:
            return EVERY
        return one_of(bounds, [_of_type(str(constant), bounds.leaf) for constant in constants])

    def _is_null(self, node: exp.Is, *, want: bool) -> May:
        leaf = self._leaf(node.this)
        if not isinstance(node.expression, exp.Null) or leaf is None:
            return EVERY
        return is_null(leaf, want=want)

    def _bounds(self, node: exp.Expr) -> Bounds | None:
        node = node.unnest()
        if isinstance(node, exp.Cast):
            inner, target = self._bounds(node.this), node.args["to"].sql(dialect="duckdb")
            leaf = self._leaf(node.this)
            if inner is None or leaf is None:
                return None
            if leaf.type == Primitive("timestamp") and target == "DATE":
                # A session's clock may be turned back, but not by a day.
                return Bounds(
                    f"TRY_CAST({inner.low} AS DATE) - 1", f"TRY_CAST({inner.high} AS DATE) + 1",
                    inner.some,
                )  # fmt: skip
            if not _is_monotone(leaf, target):
                return None
            return Bounds(
                f"TRY_CAST({inner.low} AS {target})", f"TRY_CAST({inner.high} AS {target})",
                inner.some,
            )  # fmt: skip
        leaf = self._leaf(node)
        return self._monotone(node) if leaf is None else bounds_of(leaf)

    def _monotone(self, node: exp.Expr) -> Bounds | None:
        """Return the bounds of a function that keeps the order of a column's values."""
        inner, others = argument(node)
        bounds = None if inner is None else self._bounds(inner)
        if inner is None or bounds is None or not all(_constant(other) for other in others):
            return None
        leaf = self._leaf(inner)
        if leaf is None or not keeps_order(node, leaf):
            return None
        ends = []
        for end in (bounds.low, bounds.high):
            copy = node.copy()
            place, _ = argument(copy)
            assert place is not None
            place.replace(exp.column("end_"))
            ends.append(f"TRY({copy.sql(dialect='duckdb').replace('end_', end)})")
        return Bounds(ends[0], ends[1], bounds.some)

    def _leaf(self, node: exp.Expr) -> Leaf | None:
        node = node.unnest()
        names = _path(node)
        match = COLUMN.fullmatch(names[0]) if names else None
        if not names or match is None or int(match[1]) >= len(self.layout.schema.fields):
            return None
        path = (self.layout.schema.fields[int(match[1])].name, *names[1:])
        found = (
            leaf for leaf in self.layout.leaves if tuple(field.name for field in leaf.path) == path
        )
        return next(found, None)


def _path(node: exp.Expr) -> tuple[str, ...]:
    if isinstance(node, exp.Dot):
        return (*_path(node.this), node.name)
    if isinstance(node, exp.StructExtract):
        above, name = _path(node.this), node.expression
        return (*above, name.name) if above and name.is_string else ()
    if isinstance(node, exp.Column):
        return tuple(part.name for part in node.parts)
    return ()


def _constant(node: exp.Expr) -> str | None:
    """Return the SQL of a constant, or None."""
    node = node.unnest()
    if not all(isinstance(part, _LITERAL) for part in node.walk()):
        return None
    if not node.find(exp.Literal, exp.Boolean):
        return None
    return node.sql(dialect="duckdb")


def _of_type(constant: str, leaf: Leaf | None) -> str:
    """Return a constant in a column's type: a plan shows ``1e-05`` for a FLOAT, which is a DOUBLE."""
    if leaf is None or not leaf.is_float:
        return constant
    text = f"'{constant}'" if _NUMBER.fullmatch(constant) else constant
    return f"CAST({text} AS {to_duckdb(leaf.type)})"


def _negated(node: exp.Expr) -> exp.Expr:
    return _FLIPPED[type(node)](this=node.this, expression=node.expression)


_WIDER = ("SMALLINT", "INT", "INTEGER", "BIGINT", "HUGEINT", "INT128", "DOUBLE")


def _is_monotone(leaf: Leaf, target: str) -> bool:
    """Tell whether a cast keeps the order of all values."""
    if target == to_duckdb(leaf.type):
        return True
    if isinstance(leaf.type, Decimal):
        return target.startswith("DECIMAL(")
    if not isinstance(leaf.type, Primitive):
        return False
    match leaf.type.name:
        case "byte" | "short" | "integer" | "long":
            return target in _WIDER or target.startswith("DECIMAL(")
        case "float":
            return target == "DOUBLE"
        case "timestamp_ntz" | "date":
            return target in ("DATE", "TIMESTAMP")
        case _:
            return False
