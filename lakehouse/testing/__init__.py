"""Prove it yourself: faults by seed, kill loops, stress, a log linter, and hypothesis strategies.

The strategies need `hypothesis`, which the package itself does not install; without it the rest
is there. ``python -m lakehouse.testing`` runs the proofs and prints their figures.
"""

import contextlib

from lakehouse.lint.findings import Finding
from lakehouse.lint.log import lint
from lakehouse.testing.agreement import disagreements
from lakehouse.testing.comparison import canonical, canonical_rows
from lakehouse.testing.fault_rules import FaultRule
from lakehouse.testing.faults import Faults, Injected, Injector, connect_faulty
from lakehouse.testing.kills import KillReport, kills
from lakehouse.testing.lost import LostReport, lost_answers
from lakehouse.testing.places import Place
from lakehouse.testing.proxy import FaultProxy
from lakehouse.testing.stress import StressReport, stress
from lakehouse.testing.traffic import Request

with contextlib.suppress(ModuleNotFoundError):
    from lakehouse.testing.predicates import predicates
    from lakehouse.testing.rows import partition_values, rows, values
    from lakehouse.testing.schemas import column_names, data_types, partition_types, schemas

__all__ = [
    "FaultProxy",
    "FaultRule",
    "Faults",
    "Finding",
    "Injected",
    "Injector",
    "KillReport",
    "LostReport",
    "Place",
    "Request",
    "StressReport",
    "canonical",
    "canonical_rows",
    "column_names",
    "connect_faulty",
    "data_types",
    "disagreements",
    "kills",
    "lint",
    "lost_answers",
    "partition_types",
    "partition_values",
    "predicates",
    "rows",
    "schemas",
    "stress",
    "values",
]
