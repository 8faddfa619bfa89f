"""Upkeep: keep tables in a shape that is quick to read."""

from compaction.advice import Proposal
from compaction.keeper import Keeper
from compaction.plan import Plan, Step
from compaction.policy import Policy
from compaction.proposing import proposals
from compaction.reports import TableUpkeep
from compaction.run import CompactionReport, plan, run
from compaction.schedule import Schedule
from compaction.tasks import Defaults
from compaction.upkeep import upkeep

__all__ = [
    "CompactionReport",
    "Defaults",
    "Keeper",
    "Plan",
    "Policy",
    "Proposal",
    "Schedule",
    "Step",
    "TableUpkeep",
    "plan",
    "proposals",
    "run",
    "upkeep",
]
