"""Say which DuckDB types a column of a Delta type takes: always, for some values, or never."""

from __future__ import annotations

from lakehouse.delta.schema.fields import Decimal, Primitive, Type
from lakehouse.duck.describe import DuckType

_INTEGERS = {
    "tinyint": 3, "smallint": 5, "integer": 10, "bigint": 19, "hugeint": 39,
    "utinyint": 3, "usmallint": 5, "uinteger": 10, "ubigint": 20, "uhugeint": 39,
}  # fmt: skip
_INTEGER_BITS = {
    "tinyint": 7, "smallint": 15, "integer": 31, "bigint": 63,
    "utinyint": 8, "usmallint": 16, "uinteger": 32, "ubigint": 64,
}  # fmt: skip
_TARGET_BITS = {"byte": 7, "short": 15, "integer": 31, "long": 63, "float": 24, "double": 53}
_NUMBERS = frozenset((*_INTEGERS, "float", "double", "decimal"))
_NUMERIC = frozenset(_TARGET_BITS)
_TEXT = frozenset(("varchar", "enum", "uuid"))
_WALL_CLOCK = frozenset(("timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"))
_INSTANTS = frozenset(("timestamp with time zone", "timestamptz_ns"))


def fits(source: DuckType, target: Type) -> bool:
    """Tell whether some values of the source type have the same meaning in the target's."""
    if isinstance(target, Decimal):
        return source.name in _NUMBERS
    if not isinstance(target, Primitive):
        return False
    if target.name in _NUMERIC:
        return source.name in _NUMBERS
    allowed = {"string": _TEXT, "timestamp_ntz": _WALL_CLOCK, "timestamp": _INSTANTS}
    return source.name in allowed.get(target.name, ())


def always_exact(source: DuckType, target: Type) -> bool:
    """Tell whether every value of the source type survives, so that no check is needed."""
    if isinstance(target, Decimal):
        whole = target.precision - target.scale
        if source.name == "decimal":
            return source.scale <= target.scale and source.precision - source.scale <= whole
        return source.name in _INTEGERS and _INTEGERS[source.name] <= whole
    if isinstance(target, Primitive) and target.name in _TARGET_BITS:
        if (source.name, target.name) == ("float", "double"):
            return True
        return _INTEGER_BITS.get(source.name, 99) <= _TARGET_BITS[target.name]
    return source.name in _TEXT
