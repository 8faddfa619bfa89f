"""A query as it was asked, with what the names in it mean."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lakehouse.scan.report import QueryRef, TableRef

Params = Sequence[Any] | Mapping[str, Any] | None

LONG = 50_000  # characters; what is found out about a longer text is not remembered
CLOCK = re.compile(
    r"\b(now|today|current_\w+|local\w+|get_current_\w+|transaction_timestamp)\b", re.IGNORECASE
)


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """Hold a query's text and parameters, and the tables and views that it names.

    ``others`` are names in it that are no table now, and must not be found even if they were one
    before. ``queries`` are views of users' in it, each after those that it reads; ``refs`` are
    their tables too. ``given`` are rows (Arrow) that it reads by their names in ``temp.main``.
    """

    sql: str
    params: Params
    refs: tuple[TableRef, ...]
    queries: tuple[QueryRef, ...] = ()
    others: tuple[str, ...] = ()
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the query's text and those of the views in it."""
        return (self.sql, *(query.sql for query in self.queries))

    @property
    def reads_clock(self) -> bool:
        """Tell whether the current time may decide it: it is planned and run in one transaction."""
        return any(CLOCK.search(text) for text in self.texts)

    @property
    def is_local(self) -> bool:
        """Tell whether all of its tables are on local disk."""
        return all(ref.snapshot.storage.is_local for ref in self.refs)
