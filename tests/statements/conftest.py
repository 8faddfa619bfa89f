"""A small lake, and what one statement gives."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lakehouse


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[lakehouse.Lake]:
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        yield lake


@pytest.fixture
def do(lake: lakehouse.Lake) -> Callable[..., dict[str, Any]]:
    """Run a statement, and return its report."""

    def run(sql: str, params: Any = None) -> dict[str, Any]:
        (report,) = lake.sql(sql, params).to_arrow_table().to_pylist()
        return report

    return run


@pytest.fixture
def rows(lake: lakehouse.Lake) -> Callable[..., list[tuple[Any, ...]]]:
    """Run a query, and return its rows."""
    return lambda sql, params=None: lake.sql(sql, params).fetchall()
