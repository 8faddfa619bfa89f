"""The document of a lease, and the rule that says until when others keep away. Pure."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from catalog.errors import CorruptionError, UnsupportedError

FORMAT = 1


@dataclasses.dataclass(frozen=True, slots=True)
class LeaseRecord:
    """Hold one document: its number, and the ``token`` of its tenure (the number that began it).

    ``at`` and ``expires`` are by the clock of ``holder``; ``id`` tells two documents apart.
    """

    number: int
    token: int
    id: str
    holder: str
    held: bool
    at: datetime
    expires: datetime


def is_held(record: LeaseRecord, *, now: datetime, skew: timedelta) -> bool:
    """Tell whether others must keep away: until ``skew`` after it has run out, by their clock.

    >>> at = datetime(2026, 1, 1, tzinfo=UTC)
    >>> record = LeaseRecord(4, 3, "", "a:1", True, at, at + timedelta(seconds=60))
    >>> [
    ...     is_held(record, now=at + timedelta(seconds=s), skew=timedelta(seconds=10))
    ...     for s in (69, 71)
    ... ]
    [True, False]
    """
    return record.held and now <= record.expires + skew


def encode(record: LeaseRecord) -> bytes:
    """Write a document."""
    values: dict[str, Any] = {"format": FORMAT} | dataclasses.asdict(record)
    values |= {"at": record.at.isoformat(), "expires": record.expires.isoformat()}
    return json.dumps(values).encode()


def decode(data: bytes, *, where: str, number: int) -> LeaseRecord:
    """Read a document, which ``where`` names in errors.

    Raise CorruptionError for one that is damaged, or not the one of this number, and
    UnsupportedError for one that newer software wrote.
    """
    try:
        values = json.loads(data)
        if values["format"] > FORMAT:
            raise UnsupportedError(
                f"lease document {where} has format {values['format']!r}",
                next_step="Upgrade lakehouse-storage",
            )
        record = LeaseRecord(
            number=values["number"],
            token=values["token"],
            id=values["id"],
            holder=str(values["holder"]),
            held=values["held"],
            at=datetime.fromisoformat(values["at"]),
            expires=datetime.fromisoformat(values["expires"]),
        )
        _check(record, number)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, UnsupportedError):
            raise
        raise CorruptionError(
            f"lease document {where} is damaged: {error}",
            next_step="Delete it once no process works under this lease",
            path=where,
        ) from error
    return record


def token_of(data: bytes, where: str) -> str:
    """Return what tells a document from any other of its number."""
    try:
        return str(json.loads(data)["id"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CorruptionError(f"lease document {where} is damaged", path=where) from error


def _check(record: LeaseRecord, number: int) -> None:
    if (record.number, type(record.number), type(record.token)) != (number, int, int):
        raise ValueError(f"it says that it is number {record.number!r}")
    if not 0 <= record.token <= record.number or type(record.held) is not bool:
        raise ValueError("its token or its state is wrong")
    if record.at.tzinfo is None or record.expires.tzinfo is None:
        raise ValueError("its times have no zone")
    # Far away times would overflow where the allowance is added.
    if not datetime(1970, 1, 1, tzinfo=UTC) <= record.expires < datetime(9000, 1, 1, tzinfo=UTC):
        raise ValueError(f"it expires at {record.expires}")
