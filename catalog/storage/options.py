"""Options of a store as the user gave them, credentials among them."""

from collections.abc import Iterator, Mapping
from typing import Any


class Options(Mapping[str, Any]):
    """Hold options, credentials among them, and show their names only.

    >>> Options({"secret_access_key": "hunter2"})
    Options(secret_access_key=***)
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Options({', '.join(f'{name}=***' for name in self._values)})"
