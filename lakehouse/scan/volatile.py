"""Know which functions may return something else at another row or time, such as ``random()``."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lakehouse.duck.engine import Engine

AnyVolatile = Callable[[Iterable[str]], bool]

# To ask DuckDB takes 20 to 30 ms, most of a first query. A test holds these to what it says.
STEADY = frozenset(
    (
        *("abs", "any_value", "approx_count_distinct", "arg_max", "arg_min", "array_agg", "avg"),
        *("bool_and", "bool_or", "ceil", "coalesce", "concat", "concat_ws", "contains", "count"),
        *("count_star", "date_diff", "date_part", "date_trunc", "day", "dayofweek", "dense_rank"),
        *("epoch", "epoch_ms", "epoch_us", "exp", "first", "first_value", "floor", "greatest"),
        *("hash", "hour", "lag", "last", "last_value", "lead", "least", "left", "length"),
        *("list", "list_contains", "ln", "lower", "lpad", "ltrim", "max", "md5", "mean", "median"),
        *("min", "minute", "mode", "month", "ntile", "power", "prefix", "quantile_cont"),
        *("quarter", "rank", "regexp_extract", "regexp_matches", "regexp_replace", "replace"),
        *("reverse", "right", "round", "row_number", "rpad", "rtrim", "second"),
        *("sqrt", "starts_with", "stddev", "strftime", "string_agg", "strlen", "strptime"),
        *("substr", "substring", "sum", "trim", "upper", "variance", "week", "year"),
    )
)

# Macros of DuckDB's, of which it does not say.
STEADY_MACROS = frozenset(("date_add", "if", "nullif", "split_part"))
# Of these, some version of DuckDB does not say that they tell the time, or what is set.
_UNSTEADY = frozenset(
    ("age", "current_localtime", "current_localtimestamp", "current_setting", "getvariable")
)
# SQL for whether a function, as duckdb_functions() lists it, may give something else another time. Those
# that only the time zone and the calendar change (told so from DuckDB 2.0.1 on) do not: an engine keeps
# to its own.
MAY_CHANGE = (
    "(stability IS DISTINCT FROM 'CONSISTENT' AND NOT "
    "(coalesce(stability, '') = 'CONSISTENT_WITHIN_QUERY' AND ("
    "function_name IN ('make_timestamptz', 'timezone') OR "
    "parameter_types::VARCHAR SIMILAR TO '.*(WITH TIME ZONE|TIMESTAMPTZ).*')))"
)


class Volatile:
    """Tell whether any of some functions is volatile; of one that is not well known, ask DuckDB."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._listed: frozenset[str] | None = None

    def __call__(self, names: Iterable[str]) -> bool:
        """Tell whether one of these names (lower case) may be a volatile function's."""
        doubtful = set(names) - STEADY - STEADY_MACROS
        if not doubtful:
            return False
        if self._listed is None:
            self._listed = self._list()
        return not doubtful.isdisjoint(self._listed)

    def _list(self) -> frozenset[str]:
        with self._engine.work("list DuckDB's functions") as cursor:
            rows = cursor.execute(
                f"SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE {MAY_CHANGE}"
            ).fetchall()
        return _UNSTEADY.union(row[0] for row in rows)
