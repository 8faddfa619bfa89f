"""Translate the Spark SQL expressions of a table's log to DuckDB: exactly, or not at all.

Constraints, invariants, generated columns and defaults are Spark SQL. Each operator and function
below means the same in both engines, for the operand types that it takes here, or is written so
that it does; whatever else an expression holds is refused, since a rule that nearly holds is none.
The only place that parses expressions: sqlglot gives the tree, the SQL is made here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from lakehouse.delta.schema.fields import Decimal, Primitive, Struct, Type
from lakehouse.duck.sql import identifier, literal
from lakehouse.write.kinds import (
    NUMBERS,
    TIMES,
    Kind,
    Translated,
    Untranslatable,
    boolean,
    constant,
    kind_of,
    moment,
    shared,
    unquoted,
    widest,
)
from lakehouse.write.patterns import to_re2


def from_spark(text: str, schema: Struct, *, volatile: bool = False) -> Translated:
    """Translate a Spark SQL expression over a table's columns.

    Names are matched in any case; data files hold the columns under their physical names.
    ``volatile`` allows the current time. Raises Untranslatable with the reason.
    """
    return _Translation(schema, volatile=volatile).whole(_parsed(text, "spark"))


def to_spark(text: str) -> str:
    r"""Return what users write, DuckDB's SQL or Spark's, as one line of Spark SQL.

    >>> to_spark("note <> '' AND NOT \"unit price\" < 0")
    "note <> '' AND NOT `unit price` < 0"
    """
    tree = _parsed(text, "spark" if "`" in text else "duckdb")
    if "~" in text and tree.find(exp.RegexpLike):
        raise Untranslatable("~ means a match of all the text in DuckDB only: use regexp_matches")
    return tree.sql("spark", comments=False)


def _parsed(text: str, dialect: str) -> exp.Expression:
    if "\\" in text:
        raise Untranslatable("it holds a backslash, which engines read in different ways")
    try:
        statements = sqlglot.parse(text, dialect=dialect)
    except (SqlglotError, RecursionError) as error:
        raise Untranslatable(f"it cannot be parsed: {str(error).splitlines()[0]}") from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Expression):
        raise Untranslatable("it is not one expression")
    return statements[0]


_COMPARED = {
    exp.EQ: "=", exp.NEQ: "<>", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM", exp.NullSafeNEQ: "IS DISTINCT FROM",
}  # fmt: skip
_ARITHMETIC = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*"}
_TEXT_FUNCTIONS: Mapping[type[exp.Expression], tuple[str, Kind]] = {
    exp.Length: ("length({0})", "integer"), exp.Upper: ("upper({0})", "string"),
    exp.Lower: ("lower({0})", "string"), exp.Trim: ("trim({0}, ' ')", "string"),
    exp.StartsWith: ("starts_with({0}, {1})", "boolean"),
    exp.EndsWith: ("suffix({0}, {1})", "boolean"), exp.Contains: ("contains({0}, {1})", "boolean"),
}  # fmt: skip
_PARTS: Mapping[type[exp.Expression], str] = {
    exp.Year: "year", exp.Quarter: "quarter", exp.Month: "month", exp.Day: "day",
    exp.DayOfMonth: "day", exp.DayOfYear: "dayofyear", exp.Hour: "hour", exp.Minute: "minute",
    exp.Second: "second",
}  # fmt: skip
_UNITS = ("year", "quarter", "month", "week", "day", "hour", "minute", "second")
_SPARK_UNITS = {"yyyy": "year", "yy": "year", "mon": "month", "mm": "month", "dd": "day"}
_FORMAT = re.compile(r"(%[YmdHMS]|[-/:. _])+")
_INTEGERS = {"TINYINT": "TINYINT", "SMALLINT": "SMALLINT", "INT": "INTEGER", "BIGINT": "BIGINT"}


# What a node may hold beside its operands. Anything else would change what it means, and is
# nothing that the translation below looks at.
_PARTS_OF: Mapping[str, tuple[str, ...]] = {
    "between": ("low", "high"), "case": ("ifs", "default"), "cast": ("to",), "trycast": ("to",),
    "column": ("table", "db", "catalog"), "concat": ("safe",), "dpipe": ("safe",),
    "datetrunc": ("unit",), "timestamptrunc": ("unit",), "div": ("safe",), "if": ("true", "false"),
    "greatest": ("ignore_nulls",), "least": ("ignore_nulls",), "like": ("negate",),
    "literal": ("is_string",), "round": ("decimals",), "substring": ("start", "length"),
    "timetostr": ("format",), "tsordstodate": ("safe",),
}  # fmt: skip
_OPERANDS = ("this", "expression", "expressions")


class _Translation:
    """Translate one expression, and remember the columns on the way."""

    def __init__(self, schema: Struct, *, volatile: bool) -> None:
        self._schema = schema
        self._volatile = volatile
        self._columns: dict[str, str] = {}

    def whole(self, tree: exp.Expression) -> Translated:
        found = self._visit(tree)
        return Translated(found.sql, found.kind, dict(self._columns))

    def _visit(self, node: Any) -> Translated:
        _check_parts(node)
        if isinstance(node, exp.Paren):
            inner = self._visit(node.this)
            return Translated(f"({inner.sql})", inner.kind)
        if isinstance(node, exp.Column | exp.Dot):
            return self._column(node)
        if isinstance(node, exp.And | exp.Or):
            word = "AND" if isinstance(node, exp.And) else "OR"
            return boolean(f"({self._truth(node.this)} {word} {self._truth(node.expression)})")
        if isinstance(node, exp.Not):
            return boolean(f"(NOT {self._truth(node.this)})")
        if (operator := _COMPARED.get(type(node))) is not None:
            left, right = self._alike([self._visit(node.this), self._visit(node.expression)])
            return boolean(f"({left.sql} {operator} {right.sql})")
        for visit in (self._tested, self._computed, self._chosen, self._text, self._time):
            found = visit(node)
            if found is not None:
                return found
        raise Untranslatable(f"{node.sql('spark')!r} is not known to mean the same in DuckDB")

    def _column(self, node: exp.Expression) -> Translated:
        parts = [part.name for part in node.parts] if isinstance(node, exp.Column | exp.Dot) else []
        type_: Type = self._schema
        sql, names = "", []
        for part in parts:
            fields = type_.fields if isinstance(type_, Struct) else ()
            field = next((f for f in fields if f.name.lower() == part.lower()), None)
            if field is None:
                raise Untranslatable(f"the table has no column {'.'.join(parts)!r}")
            names.append(field.name)
            name = field.physical_name
            sql = f"struct_extract({sql}, {literal(name)})" if sql else identifier(name)
            type_ = field.type
        self._columns[".".join(names)] = sql
        return Translated(_wide(sql, type_), kind_of(type_))

    def _tested(self, node: exp.Expression) -> Translated | None:
        match node:
            case exp.Is() if isinstance(node.expression, exp.Null):
                return boolean(f"({self._visit(node.this).sql} IS NULL)")
            case exp.Is() if isinstance(node.expression, exp.Boolean):
                truth = "TRUE" if node.expression.this else "FALSE"
                return boolean(f"({self._truth(node.this)} IS {truth})")
            case exp.Anonymous() if node.name.lower() in ("isnull", "isnotnull"):
                test = "IS NULL" if node.name.lower() == "isnull" else "IS NOT NULL"
                return boolean(f"({self._visit(node.expressions[0]).sql} {test})")
            case exp.In() if node.expressions and not node.args.get("query"):
                value, *others = self._alike(
                    [self._visit(node.this), *map(self._visit, node.expressions)]
                )
                return boolean(f"({value.sql} IN ({', '.join(o.sql for o in others)}))")
            case exp.Between():
                value, low, high = self._alike(
                    [self._visit(node.args[key]) for key in ("this", "low", "high")]
                )
                return boolean(f"({value.sql} BETWEEN {low.sql} AND {high.sql})")
            case exp.Like():
                value, pattern = self._visit(node.this), self._visit(node.expression)
                if (value.kind, pattern.kind) == ("string", "string"):
                    word = "NOT LIKE" if node.args.get("negate") else "LIKE"
                    return boolean(f"({value.sql} {word} {pattern.sql})")
        return None

    def _computed(self, node: exp.Expression) -> Translated | None:
        match node:
            case exp.Literal():
                return constant(str(node.this), is_text=node.is_string)
            case exp.Boolean():
                return boolean("TRUE" if node.this else "FALSE")
            case exp.Null():
                return Translated("NULL", "null")
            case exp.Neg():
                value = self._visit(node.this)
                return Translated(f"(- {value.sql})", widest([value.kind]))
            case exp.Add() | exp.Sub() | exp.Mul():
                left, right = self._visit(node.this), self._visit(node.expression)
                sql = f"({left.sql} {_ARITHMETIC[type(node)]} {right.sql})"
                if (left.kind, right.kind) == ("date", "integer") and not isinstance(node, exp.Mul):
                    days = f"CAST({right.sql} AS INTEGER)"
                    return Translated(f"({left.sql} {_ARITHMETIC[type(node)]} {days})", "date")
                return Translated(sql, widest([left.kind, right.kind]))
            case exp.Div() | exp.Mod() | exp.IntDiv():
                return self._divided(node)
            case exp.Abs():
                value = self._visit(node.this)
                return Translated(f"abs({value.sql})", widest([value.kind]))
            case exp.Floor() | exp.Ceil() if not node.args.get("decimals"):
                value = self._visit(node.this)
                name = "floor" if isinstance(node, exp.Floor) else "ceil"
                if value.kind == "double":  # Spark makes whole numbers of them
                    return Translated(f"CAST({name}({value.sql}) AS BIGINT)", "integer")
                return Translated(f"{name}({value.sql})", widest([value.kind]))
            case exp.Round():
                value, digits = self._visit(node.this), _whole(node.args.get("decimals"), least=0)
                if value.kind in ("integer", "decimal"):  # of doubles, the engines round others
                    return Translated(f"round({value.sql}, {digits})", value.kind)
            case exp.Cast() | exp.TryCast():
                return self._cast(node)
        return None

    def _divided(self, node: exp.Expression) -> Translated:
        left, right = self._visit(node.this), self._visit(node.expression)
        kinds = {left.kind, right.kind}
        if isinstance(node, exp.Div) and (kinds <= {"integer", "double"} or "double" in kinds):
            widest([left.kind, right.kind])
            double = f"NULLIF(CAST({right.sql} AS DOUBLE), 0)"
            return Translated(f"(CAST({left.sql} AS DOUBLE) / {double})", "double")
        if kinds == {"integer"} and not isinstance(node, exp.Div):
            sign = "//" if isinstance(node, exp.IntDiv) else "%"
            return Translated(f"({left.sql} {sign} NULLIF({right.sql}, 0))", "integer")
        raise Untranslatable(f"{node.sql('spark')!r} rounds in other ways in DuckDB")

    def _cast(self, node: exp.Expression) -> Translated:
        target = node.args["to"].sql("spark").upper()
        value = self._visit(node.this)
        if isinstance(node.this, exp.Literal) and value.kind == "string":
            kinds = {"DATE": "date", "TIMESTAMP": "timestamp", "TIMESTAMP_NTZ": "timestamp_ntz"}
            return moment(node.this.this, kinds.get(target, target))
        taken: dict[str, tuple[tuple[str, ...], Kind, str]] = {
            "STRING": (("integer", "string", "date", "boolean"), "string", "VARCHAR"),
            "DATE": (TIMES, "date", "DATE"),
            "TIMESTAMP": (TIMES, "timestamp", "TIMESTAMPTZ"),
            "TIMESTAMP_NTZ": (TIMES, "timestamp_ntz", "TIMESTAMP"),
            "DOUBLE": (("integer", "double"), "double", "DOUBLE"),
            "BOOLEAN": (("boolean",), "boolean", "BOOLEAN"),
            **{name: (("integer",), "integer", sql) for name, sql in _INTEGERS.items()},
        }
        kinds_, kind, type_ = taken.get(target, ((), "other", target))
        if re.fullmatch(r"DECIMAL\(\d+, \d+\)", target):
            kinds_, kind = ("integer", "decimal"), "decimal"
        if value.kind not in kinds_:
            raise Untranslatable(f"{node.sql('spark')!r} converts in other ways in DuckDB")
        return Translated(f"CAST({value.sql} AS {type_})", kind)

    def _chosen(self, node: exp.Expression) -> Translated | None:
        match node:
            case exp.Coalesce() | exp.Greatest() | exp.Least():
                values = self._alike([self._visit(v) for v in (node.this, *node.expressions)])
                name = type(node).__name__.lower()
                return Translated(f"{name}({', '.join(v.sql for v in values)})", shared(values))
            case exp.If():
                return self._cases([node], node.args.get("false"))
            case exp.Case() if node.this is None:
                return self._cases(node.args["ifs"], node.args.get("default"))
        return None

    def _cases(self, branches: list[Any], default: Any) -> Translated:
        conditions = [self._truth(branch.this) for branch in branches]
        others = [branch.args["true"] for branch in branches] + ([default] if default else [])
        values = self._alike([self._visit(value) for value in others])
        whens = " ".join(
            f"WHEN {condition} THEN {value.sql}"
            for condition, value in zip(conditions, values, strict=False)
        )
        otherwise = f" ELSE {values[-1].sql}" if default else ""
        return Translated(f"CASE {whens}{otherwise} END", shared(values))

    def _text(self, node: exp.Expression) -> Translated | None:
        if (known := _TEXT_FUNCTIONS.get(type(node))) is not None:
            if isinstance(node, exp.Trim) and (node.expression or node.args.get("position")):
                return None
            pattern, kind = known
            operands = [node.this, *([node.expression] if "{1}" in pattern else [])]
            return Translated(pattern.format(*map(self._string, operands)), kind)
        match node:
            case exp.RegexpLike() if isinstance(node.expression, exp.Literal):
                pattern = literal(to_re2(str(node.expression.this)))
                return boolean(f"regexp_matches({self._string(node.this)}, {pattern})")
            case exp.Concat() | exp.DPipe():
                parts = node.expressions or [node.this, node.expression]
                return Translated(f"({' || '.join(map(self._shown, parts))})", "string")
            case exp.Substring():
                start, length = _whole(node.args.get("start"), least=1), node.args.get("length")
                more = f", {_whole(length, least=0)}" if length else ""
                return Translated(f"substring({self._string(node.this)}, {start}{more})", "string")
            case exp.Left():
                count = _whole(node.expression, least=0)
                return Translated(f"substring({self._string(node.this)}, 1, {count})", "string")
        return None

    def _time(self, node: exp.Expression) -> Translated | None:
        if (part := _PARTS.get(type(node))) is not None:
            return Translated(f"{part}({self._local(node.this)})", "integer")
        match node:
            case exp.TsOrDsToDate() | exp.Date() if not node.expressions:
                return Translated(f"CAST({self._local(node.this)} AS DATE)", "date")
            case exp.TimestampTrunc() | exp.DateTrunc():
                unit = node.args["unit"].name.lower()
                unit = _SPARK_UNITS.get(unit, unit)
                if unit in _UNITS:
                    sql = f"date_trunc('{unit}', {self._local(node.this)})"
                    if isinstance(node, exp.DateTrunc):
                        return Translated(f"CAST({sql} AS DATE)", "date")
                    return Translated(f"CAST({sql} AS TIMESTAMPTZ)", "timestamp")
            case exp.TimeToStr():
                pattern = node.args["format"].name.replace("strict", "")
                if _FORMAT.fullmatch(pattern):
                    made = f"strftime({self._local(node.this)}, {literal(pattern)})"
                    return Translated(made, "string")
            case exp.TimeStrToTime():
                return self._visit(node.this)
            case exp.CurrentTimestamp() | exp.CurrentDate() if self._volatile:
                if isinstance(node, exp.CurrentDate):
                    return Translated("current_date", "date")
                return Translated("now()", "timestamp")
        return None

    def _truth(self, node: Any) -> str:
        return self._of(node, ("boolean", "null"))

    def _string(self, node: Any) -> str:
        return self._of(node, ("string", "null"))

    def _shown(self, node: Any) -> str:
        return f"CAST({self._of(node, ('string', 'integer', 'date', 'null'))} AS VARCHAR)"

    def _local(self, node: Any) -> str:
        """Return SQL of a time as the session's clocks show it."""
        return f"CAST({self._of(node, TIMES)} AS TIMESTAMP)"

    def _of(self, node: Any, kinds: tuple[str, ...]) -> str:
        value = self._visit(node)
        if value.kind not in kinds:
            raise Untranslatable(f"{node.sql('spark')!r} is no {kinds[0]} but {value.kind}")
        return value.sql

    def _alike(self, values: list[Translated]) -> list[Translated]:
        """Return values that can be compared, with texts that stand for times as such."""
        kinds = {value.kind for value in values if value.kind != "null"}
        times = kinds & set(TIMES)
        if times and kinds - times == {"string"} and len(times) == 1:
            (kind,) = times
            return [
                moment(unquoted(value.sql), kind) if value.kind == "string" else value
                for value in values
            ]
        if len(kinds) > 1 and not (kinds <= set(NUMBERS) or kinds <= set(TIMES)):
            raise Untranslatable(f"it compares {' with '.join(sorted(kinds))}")
        if "other" in kinds or "binary" in kinds:
            raise Untranslatable("it compares lists, maps, structs or bytes")
        return values


def _wide(sql: str, type_: Type) -> str:
    """Return SQL of a value as wide as Spark computes with it."""
    match type_:
        case Primitive("float"):
            return f"CAST({sql} AS DOUBLE)"
        case Decimal(precision, scale) if precision < 19:
            return f"CAST({sql} AS DECIMAL(38,{scale}))"
        case _:
            return sql


def _check_parts(node: exp.Expression) -> None:
    known = (*_OPERANDS, *_PARTS_OF.get(node.key, ()))
    strange = [name for name, part in node.args.items() if part and name not in known]
    if strange:
        raise Untranslatable(f"{node.sql('spark')!r} is not known to mean the same in DuckDB")


def _whole(node: Any, *, least: int) -> int:
    text = "0" if node is None else str(node.name)
    if (node is not None and not isinstance(node, exp.Literal)) or not text.isdecimal():
        raise Untranslatable("it takes a part of a text, or digits, that no constant names")
    if int(text) < least:
        raise Untranslatable(f"{text} is no place in a text for every engine")
    return int(text)
