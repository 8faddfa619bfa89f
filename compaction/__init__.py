"""Upkeep: keep tables in a shape that is quick to read."""

from compaction.plan import Bin, FileSize, plan_bins
from compaction.policy import Policy
from compaction.run import CompactionReport, plan, run
from compaction.upkeep import TableUpkeep, upkeep

__all__ = [
    "Bin",
    "CompactionReport",
    "FileSize",
    "Policy",
    "TableUpkeep",
    "plan",
    "plan_bins",
    "run",
    "upkeep",
]
