"""What a run of the demo returns: frozen values, ready for JSON."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """Compare a number of the lake (``found``) with the same from elsewhere (``expected``)."""

    table: str
    what: str
    expected: str
    found: str

    @property
    def passed(self) -> bool:
        """Tell whether the two agree."""
        return self.expected == self.found


@dataclasses.dataclass(frozen=True, slots=True)
class StepReport:
    """Report how long a step of the demo took, in seconds of wall time."""

    name: str
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class DemoReport:
    """Report a run: its steps, its checks, and the lake's size in files and bytes.

    ``kept`` tells that the tables of an earlier run were toured, and nothing was loaded.

    >>> report = DemoReport("lake-demo", False, (), (Check("t", "rows", "3", "4"),), 0, 0, 0.0)
    >>> report.passed
    False
    """

    uri: str
    kept: bool
    steps: tuple[StepReport, ...]
    checks: tuple[Check, ...]
    files: int
    bytes: int
    seconds: float

    @property
    def passed(self) -> bool:
        """Tell whether every check agreed."""
        return all(check.passed for check in self.checks)
