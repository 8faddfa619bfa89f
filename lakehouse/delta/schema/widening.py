"""Widen column types without losing a value: pure rules.

Source: Delta protocol, "Type Widening". The changes listed there are those that a reader of the
older data files can follow; they are also the only ones that we make by rewriting files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from lakehouse.delta.schema.fields import Array, Decimal, Field, Map, Primitive, Struct, Type

TYPE_CHANGES = "delta.typeChanges"
_WHOLE = ("byte", "short", "integer", "long")
_DIGITS = {"byte": 3, "short": 5, "integer": 10, "long": 19}
# How many digits before the point the protocol asks of a decimal that takes these.
_WIDENED_DIGITS = {"byte": 10, "short": 10, "integer": 10, "long": 20}
_PRECISION = 38
_DOUBLE = Primitive("double")


def joined(type_: Type, other: Type) -> Type | None:
    """Return the smallest type that ``type_`` may widen to and that holds all values of ``other``.

    None where there is none: a ``long`` beside a ``double``, text beside a number. Leaf types only.

    >>> joined(Primitive("integer"), Primitive("long"))
    Primitive(name='long')
    >>> joined(Primitive("long"), Decimal(5, 2))
    Decimal(precision=22, scale=2)
    >>> joined(Primitive("long"), Primitive("double")) is None
    True
    """
    if type_ == other:
        return type_
    match type_, other:
        case Decimal(), Decimal():
            whole = max(type_.precision - type_.scale, other.precision - other.scale)
            return _decimal(whole, max(type_.scale, other.scale))
        case Decimal(), Primitive(name) if name in _DIGITS:
            return _decimal(max(type_.precision - type_.scale, _DIGITS[name]), type_.scale)
        case Primitive(name), Decimal() if name in _DIGITS:
            whole = max(_WIDENED_DIGITS[name], other.precision - other.scale)
            return _decimal(whole, other.scale)
        case Primitive(a), Primitive(b):
            return _joined_primitives(a, b)
        case _:
            return None


def is_widening(old: Type, new: Type) -> bool:
    """Tell whether the protocol lets a column of one leaf type become one of another.

    >>> is_widening(Decimal(5, 2), Decimal(7, 3)), is_widening(Decimal(5, 2), Decimal(6, 4))
    (True, False)
    """
    match old, new:
        case Decimal(), Decimal():
            more = new.scale - old.scale
            return old != new and more >= 0 and new.precision - old.precision >= more
        case Primitive(name), Decimal() if name in _WIDENED_DIGITS:
            return new.precision - new.scale >= _WIDENED_DIGITS[name]
        case Primitive(a), Primitive(b) if a in _WHOLE and b in _WHOLE:
            return _WHOLE.index(a) < _WHOLE.index(b)
        case Primitive("byte" | "short" | "integer" | "float"), Primitive("double"):
            return True
        case Primitive("date"), Primitive("timestamp_ntz"):
            return True
        case _:
            return False


def widened(old: Type, new: Type) -> Type | None:
    """Return ``old`` with the leaf types of ``new``, or None where that is more than widening.

    Fields keep their metadata, and whether they may be NULL.

    >>> widened(Array(Primitive("integer")), Array(Primitive("long")))
    Array(element=Primitive(name='long'), contains_null=True)
    """
    match old, new:
        case Struct(fields), Struct() if old.names() == new.names():
            types = [widened(a.type, b.type) for a, b in zip(fields, new, strict=True)]
            return (
                Struct(
                    tuple(
                        dataclasses.replace(field, type=type_)
                        for field, type_ in zip(fields, types, strict=True)
                        if type_ is not None
                    )
                )
                if None not in types
                else None
            )
        case Array(element, contains_null), Array(after):
            inner = widened(element, after)
            return None if inner is None else Array(inner, contains_null)
        case Map(key, value, contains_null), Map(new_key, new_value):
            keys, values = widened(key, new_key), widened(value, new_value)
            return None if keys is None or values is None else Map(keys, values, contains_null)
        case _:
            return new if old == new or is_widening(old, new) else None


def changed_leaves(old: Type, new: Type) -> Iterator[tuple[Type, Type]]:
    """Yield the leaf types that differ between two types of one shape; fields match by name."""
    match old, new:
        case Struct(), Struct():
            for field in new:
                before = old.field(field.name)
                if before is not None:
                    yield from changed_leaves(before.type, field.type)
        case Array(before), Array(after):
            yield from changed_leaves(before, after)
        case Map(key, value), Map(new_key, new_value):
            yield from changed_leaves(key, new_key)
            yield from changed_leaves(value, new_value)
        case _ if old != new:
            yield old, new
        case _:
            return


def with_timestamps(type_: Type, wanted: Type) -> Type:
    """Return a type in which each date that is a timestamp in ``wanted`` is one."""
    match type_, wanted:
        case Struct(fields), Struct():
            found = [(field, wanted.field(field.name)) for field in fields]
            return Struct(
                tuple(
                    field
                    if known is None
                    else dataclasses.replace(field, type=with_timestamps(field.type, known.type))
                    for field, known in found
                )
            )
        case Array(element, contains_null), Array(after):
            return Array(with_timestamps(element, after), contains_null)
        case Map(key, value, contains_null), Map(new_key, new_value):
            return Map(
                with_timestamps(key, new_key), with_timestamps(value, new_value), contains_null
            )
        case Primitive("date"), Primitive("timestamp_ntz"):
            return wanted
        case _:
            return type_


def with_type_changes(old: Struct, new: Struct) -> Struct:
    """Return ``new`` with each change of a leaf type recorded in its field's metadata.

    Source: Delta protocol, "Type Change Metadata".
    """
    return Struct(tuple(_recorded(old.field(field.name), field) for field in new))


def has_been(field: Field, type_: str) -> bool:
    """Tell whether a field is recorded to have had a type, as far as the record can be read.

    >>> has_been(Field("x", _DOUBLE, metadata={TYPE_CHANGES: [{"fromType": "float"}]}), "float")
    True
    """
    changes = field.metadata.get(TYPE_CHANGES)
    listed = changes if isinstance(changes, list) else ()
    return any(isinstance(change, Mapping) and change.get("fromType") == type_ for change in listed)


def _joined_primitives(a: str, b: str) -> Type | None:
    if a in _WHOLE and b in _WHOLE:
        return Primitive(max(a, b, key=_WHOLE.index))
    if a in ("byte", "short", "integer") and b in ("float", "double"):
        return _DOUBLE
    if a in ("float", "double") and b in ("float", "double"):
        return _DOUBLE
    if a == "double" and b in ("byte", "short", "integer"):
        return _DOUBLE
    if a == "float" and b in ("byte", "short"):
        return Primitive("float")
    if a == "float" and b == "integer":
        return _DOUBLE
    if (a, b) == ("date", "timestamp_ntz"):
        return Primitive("timestamp_ntz")
    return None


def _decimal(whole: int, scale: int) -> Decimal | None:
    return Decimal(whole + scale, scale) if whole + scale <= _PRECISION else None


def _recorded(old: Field | None, new: Field) -> Field:
    if old is None:
        return new
    changes = list(_changes(old.type, new.type, ()))
    type_ = _nested(old.type, new.type)
    if not changes:
        return dataclasses.replace(new, type=type_)
    known = list(new.metadata.get(TYPE_CHANGES) or ())
    metadata = {**new.metadata, TYPE_CHANGES: [*known, *changes]}
    return dataclasses.replace(new, type=type_, metadata=MappingProxyType(metadata))


def _nested(old: Type, new: Type) -> Type:
    """Return a type whose structs' fields carry their changes."""
    match old, new:
        case Struct(), Struct():
            return with_type_changes(old, new)
        case Array(before), Array(after, contains_null):
            return Array(_nested(before, after), contains_null)
        case Map(key, value), Map(new_key, new_value, contains_null):
            return Map(_nested(key, new_key), _nested(value, new_value), contains_null)
        case _:
            return new


def _changes(old: Type, new: Type, path: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield what changed below a field down to the next struct, whose fields have their own."""
    match old, new:
        case Struct(), Struct():
            return
        case Array(before), Array(after):
            yield from _changes(before, after, (*path, "element"))
        case Map(key, value), Map(new_key, new_value):
            yield from _changes(key, new_key, (*path, "key"))
            yield from _changes(value, new_value, (*path, "value"))
        case _ if old != new:
            change = {"fromType": _name(old), "toType": _name(new)}
            yield {**change, "fieldPath": ".".join(path)} if path else change
        case _:
            return


def _name(type_: Type) -> str:
    if isinstance(type_, Decimal):
        return f"decimal({type_.precision},{type_.scale})"
    assert isinstance(type_, Primitive)
    return type_.name
