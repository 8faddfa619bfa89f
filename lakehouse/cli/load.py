"""The command load: files into a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pyarrow as pa
import typer
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

import lakehouse
from lakehouse.cli.files import Format, Source
from lakehouse.cli.options import (
    JsonOption,
    LakeOption,
    PartitionOption,
    TableArgument,
    names,
    open_lake,
    pairs,
)
from lakehouse.cli.output import emit, number, progress, say, size
from lakehouse.duck.errors import translated
from lakehouse.duck.stream import batches

_BATCH = 100_000  # rows: small enough for the display to move
_HINT = "Correct the file, or see --option, such as nullstr=NA or columns={'id': 'VARCHAR'}"


def load(
    table: TableArgument,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILES", help="Files or quoted globs; .gz and .zst are unpacked."),
    ],
    *,
    format_: Annotated[
        Format | None,
        typer.Option("--format", "-f", help="Instead of by the files' names.", show_default=False),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            "-o",
            metavar="NAME=VALUE",
            help="An option of DuckDB's reader, such as delim=';' or nullstr=NA; repeat it.",
            show_default=False,
        ),
    ] = None,
    mode: Annotated[
        Literal["append", "overwrite"], typer.Option(help="Add the rows, or replace all.")
    ] = "append",
    schema_mode: Annotated[
        Literal["strict", "add"], typer.Option(help="Refuse new columns, or add them.")
    ] = "strict",
    partition_by: PartitionOption = None,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """Load CSV, JSON or Parquet files into a table, all in one commit.

    Creates the table if there is none of that name. Columns are matched by name. If any row
    does not fit, nothing is loaded.
    """
    source = Source(tuple(files), format_, pairs(option, option="--option"))
    with open_lake(lake) as opened:
        target, created = _target(opened, table, source, names(partition_by))
        try:
            report = _write(opened, target, source, mode=mode, schema_mode=schema_mode)
        except BaseException:
            # A table that this command made, and that holds nothing, is not left behind.
            if created and target.version == 0:
                opened.drop_table(target.name, purge=True)
            raise
    if json:
        emit({"table": target.name, "created": created, **dataclasses.asdict(report)})
        return
    say(
        f"{'Created ' if created else ''}{target.name}, version {report.version}: "
        f"{number(report.rows)} rows in {number(report.files_added)} files, "
        f"{size(report.bytes_added)}, in {report.seconds:.1f} s"
        + (f"; {number(report.files_removed)} files replaced" if report.files_removed else "")
        + (f"; {report.attempts} attempts" if report.attempts > 1 else "")
        + "."
    )


def _target(
    lake: lakehouse.Lake, name: str, source: Source, partition_by: tuple[str, ...]
) -> tuple[lakehouse.Table, bool]:
    """Return the table to write to, and whether it was created for that."""
    try:
        table = lake.table(name)
    except lakehouse.NotFoundError:
        with translated("read the files"):
            schema = source.schema(lake)
        return lake.create_table(name, schema, partition_by=partition_by), True
    if partition_by and partition_by != table.partition_by:
        raise lakehouse.InputError(
            f"{table.name} is partitioned by {', '.join(table.partition_by) or 'nothing'}",
            next_step="Leave --partition-by out: it is for new tables",
        )
    return table, False


def _write(
    lake: lakehouse.Lake,
    table: lakehouse.Table,
    source: Source,
    *,
    mode: Literal["append", "overwrite"],
    schema_mode: Literal["strict", "add"],
) -> lakehouse.WriteReport:
    display = progress(
        SpinnerColumn(),
        TextColumn("loading", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,} rows", markup=False),
        TimeElapsedColumn(),
    )
    failed: list[lakehouse.LakehouseError] = []
    with display, translated("read the files"):
        rows = lake.sql(source.sql())
        task = display.add_task("", total=source.rows(lake))

        def passing() -> Iterator[Any]:
            try:
                for batch in batches(rows, size=_BATCH, doing="read the files", next_step=_HINT):
                    yield batch
                    display.advance(task, batch.num_rows)
            except lakehouse.LakehouseError as error:
                failed.append(error)
                raise

        schema = source.schema(lake)
        counted = pa.RecordBatchReader.from_batches(schema, passing())
        write = table.append if mode == "append" else table.overwrite
        try:
            return write(counted, schema_mode=schema_mode)
        except lakehouse.LakehouseError as error:
            # What went wrong with the files says more than that the stream of rows ended.
            raise (failed[0] if failed else error) from error
