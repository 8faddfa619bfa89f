"""The lake: connect, its tables, and SQL over them."""

from typing import TYPE_CHECKING

from catalog import lazy

if TYPE_CHECKING:  # imported on first use: docs/decisions/0018
    from lakehouse.lake import connections as connections
    from lakehouse.lake import explain as explain
    from lakehouse.lake import named as named
    from lakehouse.lake import reads as reads
    from lakehouse.lake import running as running
    from lakehouse.lake import snapshot as snapshot
    from lakehouse.lake import untrusted as untrusted
    from lakehouse.lake import views as views

__getattr__ = lazy.names(
    __name__,
    {
        "lakehouse.lake.connections": (),
        "lakehouse.lake.explain": (),
        "lakehouse.lake.named": (),
        "lakehouse.lake.reads": (),
        "lakehouse.lake.running": (),
        "lakehouse.lake.snapshot": (),
        "lakehouse.lake.untrusted": (),
        "lakehouse.lake.views": (),
    },
)
