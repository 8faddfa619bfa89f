"""The command line: ``lakehouse``, made with Typer and Rich."""

from lakehouse.cli.program import app, main

__all__ = ["app", "main"]
