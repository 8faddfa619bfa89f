"""What one of many processes does to records that all of them keep."""

from catalog import open_storage
from catalog.records import Records


def add(uri: str, who: int, count: int) -> int:
    """Add records, folding often."""
    records = Records(open_storage(uri, durable=False), fold_at=5)
    for number in range(count):
        at = f"2026-01-01T{number:02}:00:00+00:00"
        records.add({"id": f"{who}-{number}", "key": str(who), "at": at})
    return len(records.all())
