"""Import on first use: one way for libraries, and one for the names of a package.

A first query in a fresh process pays for each module that is imported before it; most of them it
does not need. docs/decisions/0018 has the figures, and the rules that tests hold this to.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any


class _Module(ModuleType):
    """Stand for a module until something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(importlib.import_module(self.__name__), name)
        setattr(self, name, value)  # the next time it is found without this method
        return value


def module(name: str) -> Any:
    """Return a module that is imported when something of it is first used.

    >>> decimal = module("decimal")
    >>> decimal.Decimal("1.50")
    Decimal('1.50')
    """
    return _Module(name)


def names(package: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package whose names are imported on first use (PEP 562).

    ``modules`` has the names that are taken from each module; a module of the package itself can
    be had as a whole as well.

    >>> load = names("email", {"decimal": ("Decimal",), "email.utils": ()})
    >>> load("Decimal")("1.50"), load("utils").parseaddr("Ada <ada@example.org>")
    (Decimal('1.50'), ('Ada', 'ada@example.org'))
    """
    homes = {name: module for module, taken in modules.items() for name in taken}

    def load(name: str) -> Any:
        if name in homes:
            return getattr(importlib.import_module(homes[name]), name)
        if f"{package}.{name}" in modules:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return load
