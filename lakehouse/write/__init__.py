"""Writing: the gate that rows pass, the data files and their statistics."""

from typing import TYPE_CHECKING

from catalog import lazy

if TYPE_CHECKING:  # imported on first use: docs/decisions/0018
    from lakehouse.write.expressions import from_spark as from_spark
    from lakehouse.write.expressions import to_spark as to_spark

__getattr__ = lazy.names(__name__, {"lakehouse.write.expressions": ("from_spark", "to_spark")})
