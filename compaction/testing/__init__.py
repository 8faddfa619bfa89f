"""Prove upkeep: beside writers that know nothing of it, by kills, and as workers that stay.

``python -m compaction.testing`` runs the proofs and prints their figures.
"""

from compaction.testing.beside import UpkeepReport, beside_writers
from compaction.testing.kills import KeeperKills, keeper_kills
from compaction.testing.workers import WorkersReport, workers

__all__ = [
    "KeeperKills",
    "UpkeepReport",
    "WorkersReport",
    "beside_writers",
    "keeper_kills",
    "workers",
]
