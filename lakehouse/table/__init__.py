"""A table of the lake: the user's handle, and what its verbs do."""

from typing import TYPE_CHECKING

from catalog import lazy

if TYPE_CHECKING:  # imported on first use: docs/decisions/0018
    from lakehouse.delta.checkpoint import write_checkpoint as write_checkpoint
    from lakehouse.delta.leftovers import Leftover as Leftover
    from lakehouse.dml.clauses import Clause as Clause
    from lakehouse.dml.clauses import Merge as Merge
    from lakehouse.dml.clauses import Repeated as Repeated
    from lakehouse.duck.rows import Rows as Rows
    from lakehouse.table import applying as applying
    from lakehouse.table import cleaning as cleaning
    from lakehouse.table import clustering as clustering
    from lakehouse.table import consuming as consuming
    from lakehouse.table import create as create
    from lakehouse.table import deleting as deleting
    from lakehouse.table import expressing as expressing
    from lakehouse.table import feed as feed
    from lakehouse.table import histories as histories
    from lakehouse.table import idempotency as idempotency
    from lakehouse.table import listing as listing
    from lakehouse.table import merging as merging
    from lakehouse.table import positions as positions
    from lakehouse.table import restoring as restoring
    from lakehouse.table import retention as retention
    from lakehouse.table import rewriting as rewriting
    from lakehouse.table import second_opinion as second_opinion
    from lakehouse.table import timeline as timeline
    from lakehouse.table import trash as trash
    from lakehouse.table import vacuuming as vacuuming
    from lakehouse.table import writing as writing
    from lakehouse.table.alter import Alter as Alter
    from lakehouse.table.alteration import Target as Target
    from lakehouse.table.consuming import Batch as Batch
    from lakehouse.table.consuming import Start as Start
    from lakehouse.table.idempotency import parse_key as parse_key
    from lakehouse.table.merge import Matched as Matched
    from lakehouse.table.merge import MergeBuilder as MergeBuilder
    from lakehouse.table.merge import MergeOptions as MergeOptions
    from lakehouse.table.merge import NotMatched as NotMatched
    from lakehouse.table.merge import NotMatchedBySource as NotMatchedBySource
    from lakehouse.table.merge import parse_clauses as parse_clauses
    from lakehouse.table.merge import parse_names as parse_names
    from lakehouse.table.merge import parse_on as parse_on
    from lakehouse.table.positions import Consumer as Consumer
    from lakehouse.table.reports import ChangeReport as ChangeReport
    from lakehouse.table.reports import CollectReport as CollectReport
    from lakehouse.table.reports import Commit as Commit
    from lakehouse.table.reports import ExpireReport as ExpireReport
    from lakehouse.table.reports import TableDetail as TableDetail
    from lakehouse.table.reports import TrashReport as TrashReport
    from lakehouse.table.reports import VacuumReport as VacuumReport
    from lakehouse.table.reports import WriteReport as WriteReport
    from lakehouse.table.sources import Sourcing as Sourcing
    from lakehouse.table.sources import parse_keep as parse_keep

__getattr__ = lazy.names(
    __name__,
    {
        "lakehouse.delta.checkpoint": ("write_checkpoint",),
        "lakehouse.delta.leftovers": ("Leftover",),
        "lakehouse.dml.clauses": ("Clause", "Merge", "Repeated"),
        "lakehouse.duck.rows": ("Rows",),
        "lakehouse.table.alter": ("Alter",),
        "lakehouse.table.alteration": ("Target",),
        "lakehouse.table.applying": (),
        "lakehouse.table.cleaning": (),
        "lakehouse.table.consuming": ("Batch", "Start"),
        "lakehouse.table.clustering": (),
        "lakehouse.table.create": (),
        "lakehouse.table.deleting": (),
        "lakehouse.table.feed": (),
        "lakehouse.table.expressing": (),
        "lakehouse.table.histories": (),
        "lakehouse.table.idempotency": ("parse_key",),
        "lakehouse.table.listing": (),
        "lakehouse.table.positions": ("Consumer",),
        "lakehouse.table.merge": (
            "Matched",
            "MergeBuilder",
            "MergeOptions",
            "NotMatched",
            "NotMatchedBySource",
            "parse_clauses",
            "parse_names",
            "parse_on",
        ),
        "lakehouse.table.merging": (),
        "lakehouse.table.reports": (
            "ChangeReport",
            "CollectReport",
            "Commit",
            "ExpireReport",
            "TableDetail",
            "TrashReport",
            "VacuumReport",
            "WriteReport",
        ),
        "lakehouse.table.restoring": (),
        "lakehouse.table.retention": (),
        "lakehouse.table.rewriting": (),
        "lakehouse.table.second_opinion": (),
        "lakehouse.table.sources": ("Sourcing", "parse_keep"),
        "lakehouse.table.timeline": (),
        "lakehouse.table.trash": (),
        "lakehouse.table.vacuuming": (),
        "lakehouse.table.writing": (),
    },
)
