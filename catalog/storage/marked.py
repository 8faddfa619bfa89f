"""Errors that pass through another library, which may keep no more of them than their text."""

import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from catalog.errors import LakehouseError

T = TypeVar("T")
_errors: OrderedDict[str, LakehouseError] = OrderedDict()
_errors_lock = threading.Lock()
_REMEMBERED = 256
_MARK = re.compile(r"\[error ([0-9a-f]{16})\]")


def raising(do: Callable[[], T]) -> T:
    """Do something; mark its LakehouseError so that `original` finds it again by its text."""
    try:
        return do()
    except LakehouseError as error:
        mark = secrets.token_hex(8)
        with _errors_lock:
            _errors[mark] = error
            while len(_errors) > _REMEMBERED:
                _errors.popitem(last=False)
        kind = FileNotFoundError if getattr(error, "missing", False) else OSError
        raise kind(f"{error} [error {mark}]") from error


def original(text: str) -> LakehouseError | None:
    """Return the error that a text, of whatever library, was made of."""
    found = _MARK.search(text)
    with _errors_lock:
        return _errors.pop(found[1], None) if found else None
