"""Any sequence of operations equals the model, in ours, delta-rs and Polars (a short form)."""

from hypothesis import Phase, settings

from lakehouse.testing.machine import TableMachine

NIGHTLY = settings().max_examples > 100

TestTable = TableMachine.TestCase
# No shrinking: it takes minutes, and the steps that failed are printed in any case.
TestTable.settings = settings(
    max_examples=500 if NIGHTLY else 8,
    stateful_step_count=50 if NIGHTLY else 12,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
