"""The demo: real flights from raw files through bronze and silver to gold, checked at the end."""

from lakehouse.demo.journey import run
from lakehouse.demo.report import Check, DemoReport, StepReport

__all__ = ["Check", "DemoReport", "StepReport", "run"]
