"""Which of many files may hold one of many values: by a single sort, whatever their number."""

from __future__ import annotations

import hashlib
from typing import Any

from catalog import lazy
from lakehouse.delta.files.layout import Layout
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.duck.engine import Connection
from lakehouse.duck.sql import literal
from lakehouse.scan.bounds import bounds_of
from lakehouse.scan.join_keys import FEW, Keys, leaf_of, typed

pa: Any = lazy.module("pyarrow")
pc: Any = lazy.module("pyarrow.compute")


def holding(low: pa.Array, high: pa.Array, values: pa.Array) -> pa.Array:
    """Tell of each range (both ends belong to it) whether a value lies in it.

    Unknown ends hold every value. ``values`` are none of NULL.

    >>> holding(pa.array([1, 5, None]), pa.array([3, 9, 9]), pa.array([4, 9])).to_pylist()
    [False, True, True]
    """
    files = len(low)
    keys = pa.concat_arrays([low, values])
    # The smallest value that is not below a range's low end is the next one in this order.
    is_value = pa.array([False, True]).take(
        pa.concat_arrays([pa.repeat(pa.scalar(0), files), pa.repeat(pa.scalar(1), len(values))])
    )
    order = pc.sort_indices(
        pa.table({"key": keys, "is_value": is_value}),
        sort_keys=[("key", "ascending"), ("is_value", "ascending")],
    )
    following = pc.fill_null_backward(
        pc.if_else(is_value.take(order), keys.take(order), pa.scalar(None, keys.type))
    )
    back = pc.sort_indices(order).slice(0, files)
    found = following.take(back)
    inside = pc.fill_null(pc.less_equal(found, high), False)
    return pc.or_(inside, pc.or_(pc.is_null(low), pc.is_null(high)))


def narrowed(cursor: Connection, chosen: str, keys: Keys, layout: Layout) -> str:
    """Return a choice of files (SQL over the index) that also holds one of the keys' values.

    It is for keys whose values are too many to be compared in SQL; others are left to
    `join_keys.may_match`.
    """
    leaf = leaf_of(keys, layout)
    bounds = None if leaf is None else bounds_of(leaf)
    if keys.values is None or len(keys.values) <= FEW or leaf is None or bounds is None:
        return chosen
    type_ = to_duckdb(leaf.type)
    texts = ", ".join(typed(value, leaf) for value in keys.values)
    values = cursor.sql(f"SELECT unnest([{texts}])::{type_} AS value").to_arrow_table()
    files = cursor.sql(
        f"SELECT position, ({bounds.low})::{type_} AS low, ({bounds.high})::{type_} AS high "
        f"FROM {chosen}"
    ).to_arrow_table()
    low, high = files["low"].combine_chunks(), files["high"].combine_chunks()
    mask = holding(low, high, values["value"].combine_chunks())
    # A choice is known by its text, and so its text has to tell what is in the table.
    digest = hashlib.sha256(f"{leaf.ordinal}\0{texts}".encode()).hexdigest()[:20]
    name = f"keyed_{digest}"
    cursor.register(name, files.select(["position"]).filter(mask))
    return f"{chosen} AND position IN (SELECT position FROM {name}) AND {literal(digest)} <> ''"
