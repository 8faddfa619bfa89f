"""The command ``lakehouse demo``; the program registers it, and words its errors."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer
from rich.console import Console

from lakehouse.demo.journey import run


def demo(
    *,
    # Not LAKEHOUSE_URI: that is where people keep their own tables.
    lake: Annotated[
        str, typer.Option("--lake", "-l", help="A new or empty folder, or that of an earlier demo.")
    ] = "./lake-demo",
    keep: Annotated[
        bool,
        typer.Option(
            "--keep/--fresh", help="Tour the tables of an earlier run, or build them anew."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the report as JSON, and nothing else.")
    ] = False,
) -> None:
    """Watch real flights go from raw files through bronze and silver to gold tables.

    Exits with 1 where a number of the lake is not that of the raw files.

    Only tables that the demo made are ever replaced.
    """
    report = run(lake, console=Console(highlight=False, quiet=as_json), keep=keep)
    if as_json:
        checks = [{**dataclasses.asdict(c), "passed": c.passed} for c in report.checks]
        values = {**dataclasses.asdict(report), "checks": checks, "passed": report.passed}
        typer.echo(json.dumps(values, ensure_ascii=False))
    if not report.passed:
        raise typer.Exit(1)
