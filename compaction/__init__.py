"""Upkeep: keep tables in a shape that is quick to read."""

from compaction.plan import Plan, Step
from compaction.policy import Policy
from compaction.run import CompactionReport, plan, run
from compaction.upkeep import TableUpkeep, upkeep

__all__ = [
    "CompactionReport",
    "Plan",
    "Policy",
    "Step",
    "TableUpkeep",
    "plan",
    "run",
    "upkeep",
]
