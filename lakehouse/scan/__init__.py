"""Reading: which files a query needs, and the views that read them."""

from typing import TYPE_CHECKING

from catalog import lazy

if TYPE_CHECKING:  # imported on first use: docs/decisions/0018
    from lakehouse.scan.prune import Pruner as Pruner

__getattr__ = lazy.names(__name__, {"lakehouse.scan.prune": ("Pruner",)})
