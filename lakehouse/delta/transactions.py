"""App transactions: which of them a table still remembers.

Source: Delta protocol, "Transaction Identifiers"; table property
``delta.setTransactionRetentionDuration`` of Delta Lake, as Spark goes by it.
"""

from __future__ import annotations

from collections.abc import Mapping

from lakehouse.delta.actions import Transaction
from lakehouse.delta.properties import interval

RETENTION = "delta.setTransactionRetentionDuration"


def unexpired(
    transactions: Mapping[str, Transaction], properties: Mapping[str, str], *, now: int
) -> Mapping[str, Transaction]:
    """Return the transactions that are not older than the table keeps them (forever by default).

    ``now`` is in milliseconds since the epoch. Those without a time are kept.

    >>> old, new = Transaction("a", 1, 0), Transaction("b", 1, 90_000_000)
    >>> kept = unexpired({"a": old, "b": new}, {RETENTION: "interval 1 day"}, now=100_000_000)
    >>> list(kept)
    ['b']
    """
    kept = interval(properties.get(RETENTION, ""))
    if kept is None:
        return transactions
    return {
        name: transaction
        for name, transaction in transactions.items()
        if transaction.last_updated is None or transaction.last_updated >= now - kept
    }
