"""Say why a filter skips no file, and what would."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lakehouse import scan as on_demand
from lakehouse.delta.files.layout import Layout
from lakehouse.scan import plain
from lakehouse.scan.may import EVERY
from lakehouse.scan.plan import columns_in
from lakehouse.scan.report import NotPruned

_FUNCTION = "statistics bound the column, and not what this function makes of it"
# What is looked for in a filter, why it skips nothing, and what to do.
_KNOWN: tuple[tuple[str, str, str], ...] = (
    (r"\bstrftime\(", _FUNCTION, "Compare date_trunc('month', {column}) with a date in place of strftime"),
    (r"\b(?:month|day|dayofmonth|dayofweek|isodow|hour|minute|quarter|week|dayofyear|monthname|dayname)\(",
     "it holds in every year, or on every day, so that no range of the column does",
     "Add a range of {column} itself, or partition by a column that holds this"),
    (r"\b(?:lower|upper)\(|~~\*", "case decides about order, and so about bounds",
     "Store {column} in one case, and compare it as it is"),
    (r"\bcontains\(|\bsuffix\(|~~|\bregexp_", "only a prefix bounds a text",
     "Use LIKE 'text%' if the text is at the beginning"),
    (r"CAST\([^()]* AS VARCHAR\)", "as text, values have another order",
     "Compare {column} with a value of its own type"),
    (r" % | & ", "a remainder has no order", "Partition by a column that holds it"),
    (r"\b(?:substring|substr|left)\(", _FUNCTION, "Use LIKE 'text%' or starts_with({column}, 'text')"),
    (r"\bconcat\(| \|\| ", _FUNCTION, "Compare {column} itself with a constant"),
)  # fmt: skip


def not_pruned(filters: Sequence[str], layout: Layout) -> tuple[NotPruned, ...]:
    """Return why filters, as a plan shows them, skip no file; those that may are left out."""
    found = []
    for text in dict.fromkeys(filters):
        may = plain.may_match((text,), layout)
        if may is None:
            may = on_demand.Pruner(layout).may_match((text,))
        if may == EVERY:
            found.append(_reason(text, layout))
    return tuple(found)


def _reason(text: str, layout: Layout) -> NotPruned:
    fields = layout.schema.fields
    columns = [fields[number] for number in sorted(columns_in(text)) if number < len(fields)]
    name = columns[0].name if columns else "the column"
    outside = re.sub(r"'(?:[^']|'')*'", "''", text)
    for pattern, why, hint in _KNOWN:
        if re.search(pattern, outside):
            return NotPruned(text, why, hint.format(column=name))
    bounded = {leaf.path[0].name for leaf in layout.leaves if leaf.has_bounds}
    unbounded = [f.name for f in columns if f.name not in bounded.union(layout.partition_columns)]
    if unbounded:
        return NotPruned(text, f"no smallest and largest value of {unbounded[0]} is kept")
    if len(columns) > 1:
        return NotPruned(text, "it compares columns with each other, and bounds are of one column")
    advice = f"Compare {name} itself with a constant" if columns else None
    return NotPruned(text, "it is no comparison of a column with a constant", advice)
