"""Upkeep: keep tables in a shape that is quick to read."""

from compaction.keeper import Keeper
from compaction.plan import Bin, FileSize, plan_bins
from compaction.policy import Policy
from compaction.reports import TableUpkeep
from compaction.run import CompactionReport, plan, run
from compaction.schedule import Schedule
from compaction.tasks import Defaults
from compaction.upkeep import upkeep

__all__ = [
    "Bin",
    "CompactionReport",
    "Defaults",
    "FileSize",
    "Keeper",
    "Policy",
    "Schedule",
    "TableUpkeep",
    "plan",
    "plan_bins",
    "run",
    "upkeep",
]
