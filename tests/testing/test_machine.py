"""Any sequence of operations equals the model, in ours, delta-rs and Polars (a short form)."""

from hypothesis import settings

from lakehouse.testing.machine import TableMachine

NIGHTLY = settings().max_examples > 100

TestTable = TableMachine.TestCase
TestTable.settings = settings(
    max_examples=500 if NIGHTLY else 8, stateful_step_count=50 if NIGHTLY else 12
)
