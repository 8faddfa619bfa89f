"""Run SQL that anybody may have written: judged, in a process of its own, within limits."""

from typing import TYPE_CHECKING

from catalog import lazy

if TYPE_CHECKING:  # imported on first use: docs/decisions/0018
    from lakehouse.lake.untrusted.door import Door as Door

__all__ = ["Door"]

__getattr__ = lazy.names(__name__, {"lakehouse.lake.untrusted.door": ("Door",)})
