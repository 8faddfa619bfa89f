"""What decides which files of a table a query reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from lakehouse.delta.files.layout import Layout
from lakehouse.scan.join_keys import Keys, may_match
from lakehouse.scan.may import EVERY, May, all_of, any_of
from lakehouse.scan.plan import Reach
from lakehouse.scan.quick import Test, of_keys, tests
from lakehouse.scan.report import TableRef


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """Hold which files may matter: those for which all of this holds.

    ``where`` is what the query's filters say of a file, ``joined`` what keys of joins do. A
    matching row has one of all the ``keys``. ``tests`` say the same as ``where``, and ``key_tests``
    as ``joined`` and ``keys``, if not None. ``ordered`` is what a LIMIT leaves, of the ``order``.
    """

    where: May = EVERY
    tests: tuple[Test, ...] | None = None
    joined: May = EVERY
    keys: tuple[Keys, ...] = ()
    key_tests: tuple[Test, ...] | None = ()
    ordered: May = EVERY
    order: str | None = None

    @property
    def quick(self) -> tuple[Test, ...] | None:
        """Return what a file's columns must pass, where nothing else decides."""
        if self.tests is None or self.key_tests is None or self.ordered != EVERY:
            return None
        return (*self.tests, *self.key_tests)

    @property
    def may(self) -> May:
        """Return what a file must be by its statistics alone."""
        return all_of([self.where, self.joined, self.ordered])


def joined(choice: Choice, scans: tuple[tuple[Keys, ...], ...], layout: Layout) -> Choice:
    """Return the choice of a table that has keys in each of its scans: a file may match for any."""
    may = any_of([all_of([may_match(one, layout) for one in keys]) for keys in scans])
    if not scans or may == EVERY:
        return choice
    if len(scans) > 1:
        return dataclasses.replace(choice, joined=may, key_tests=None)
    tests = of_keys(scans[0], layout)
    return dataclasses.replace(choice, joined=may, keys=scans[0], key_tests=tests)


def tests_of(ref: TableRef, scans: Sequence[Reach], where: May) -> tuple[Test, ...] | None:
    """Return tests that say of a table's files what ``where`` says; None if unsure."""
    layout = ref.snapshot.files.layout
    if where == EVERY:
        return None if layout.partitions else ()
    return tests(scans[0].filters, layout) if len(scans) == 1 else None
