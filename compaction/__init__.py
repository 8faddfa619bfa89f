"""Upkeep: keep tables in a shape that is quick to read."""

from compaction.advice import Proposal
from compaction.plan import Plan, Step
from compaction.policy import Policy
from compaction.run import CompactionReport, plan, proposals, run
from compaction.upkeep import TableUpkeep, upkeep

__all__ = [
    "CompactionReport",
    "Plan",
    "Policy",
    "Proposal",
    "Step",
    "TableUpkeep",
    "plan",
    "proposals",
    "run",
    "upkeep",
]
