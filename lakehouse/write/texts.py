"""Dates and times that are written as texts, as SQL has them in ``VALUES``: which ones are exact.

DuckDB's casts take more, and drop what does not fit: the time of '2024-01-01 12:00' as a DATE,
digits beyond microseconds, an offset from a TIMESTAMP.
"""

from __future__ import annotations

from lakehouse.delta.schema.fields import Primitive, Type

_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = "[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?"
_FORMS = {
    "date": _DATE,
    "timestamp_ntz": f"{_DATE}({_TIME})?",
    "timestamp": f"{_DATE}({_TIME}(Z|[+-][0-9]{{2}}(:[0-9]{{2}})?)?)?",
}


def exact_form(type_: Type) -> str | None:
    """Return the regular expression of texts that a type holds exactly; None where none are taken.

    >>> exact_form(Primitive("date"))
    '[0-9]{4}-[0-9]{2}-[0-9]{2}'
    """
    return _FORMS.get(type_.name) if isinstance(type_, Primitive) else None
