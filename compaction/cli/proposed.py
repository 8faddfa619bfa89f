"""Tell what it would pay to cluster or to partition tables by."""

from __future__ import annotations

from collections.abc import Iterable

from compaction.advice import Proposal
from lakehouse.cli.output import number, say, size


def tell(proposals: Iterable[Proposal]) -> None:
    """Say a sentence for each proposal."""
    for made in proposals:
        columns = ",".join(made.cluster_by or made.partition_by)
        what = f"clusterBy={columns}" if made.cluster_by else f"a table partitioned by {columns}"
        say(
            f"{made.table}: {what} would save about {made.saving:.0%} of the "
            f"{size(made.bytes_read)} that {number(made.queries)} queries read"
        )
