"""The program: which commands there are, where each is defined, and what happens to errors.

A command's module is imported when the command runs: help and completion do not wait for the
libraries of commands that they only name.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from catalog.errors import LakehouseError
from lakehouse.cli import failures, interrupt

GROUP = "lakehouse.commands"
_JSON = "lakehouse.json"
_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}

# Typer carries its own Click, and does not export this class.
UsageError: type[Any] = typer.BadParameter.__mro__[1]

# name: (module:function, heading in --help, first line of its help)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "init": ("lakehouse.cli.init:init", "Lake", "Create a lake."),
    "ls": ("lakehouse.cli.listing:ls", "Lake", "List the tables."),
    "demo": (
        "lakehouse.demo.command:demo",
        "Lake",
        "Watch real flights go from raw files to gold tables.",
    ),
    "layers": ("lakehouse.cli.layers:layers", "Lake", "List the layers, or add one."),
    "doctor": (
        "lakehouse.cli.doctor:doctor",
        "Lake",
        "Check the installation, storage and tables.",
    ),
    "show": ("lakehouse.cli.listing:show", "Tables", "Show a table's columns, size and history."),
    "create": ("lakehouse.cli.tables:create", "Tables", "Create an empty table."),
    "register": ("lakehouse.cli.tables:register", "Tables", "Name an existing Delta table."),
    "load": ("lakehouse.cli.load:load", "Tables", "Load CSV, JSON or Parquet files into a table."),
    "rename": ("lakehouse.cli.tables:rename", "Tables", "Give a table another name."),
    "drop": ("lakehouse.cli.tables:drop", "Tables", "Take a table out of the lake."),
    "sql": (
        "lakehouse.cli.query:sql",
        "Queries",
        "Run SQL over the tables; without a query: a shell.",
    ),
    "explain": (
        "lakehouse.cli.query:explain",
        "Queries",
        "Show which files a query reads and skips, and why.",
    ),
    "vacuum": ("lakehouse.cli.vacuum:vacuum", "Time", "Delete files that no version needs."),
    "snapshots": ("lakehouse.cli.vacuum:snapshots", "Time", "List, name and drop snapshots."),
    "history": ("lakehouse.cli.timeline:history", "Time", "List a table's versions."),
    "restore": ("lakehouse.cli.timeline:restore", "Time", "Bring an earlier version back."),
}


class Program(TyperGroup):
    """Hold outlines of all commands, load the one that runs, and report its errors."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.plugins = plugins()
        for name, (_, heading, text) in COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=text, rich_help_panel=heading)
        for name, plugin in self.plugins.items():
            text = (
                f"From the package {plugin.module.partition('.')[0]}; see lakehouse {name} --help."
            )
            self.commands[name] = TyperCommand(name, help=text, rich_help_panel="Other packages")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Note whether errors are wanted as JSON: they may come before options are parsed."""
        ctx.meta[_JSON] = "--json" in (args[: args.index("--")] if "--" in args else args)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a command by its outline, and load it."""
        name, outline, rest = super().resolve_command(ctx, args)
        try:
            command = self._load(name) if name else None
        except LakehouseError:
            if not ctx.resilient_parsing:  # completion stays silent
                raise
            return name, outline, rest
        return name, command or outline, rest

    def invoke(self, ctx: Any) -> Any:
        """Run a command; turn its errors into words and an exit code."""
        with interrupt.watch() as pressed:
            try:
                result = self._reported(ctx, pressed)
            except (KeyboardInterrupt, RuntimeError) as error:
                # Libraries that are interrupted, and prompts, report it in their own ways.
                if not pressed.is_set() and not isinstance(error, KeyboardInterrupt):
                    raise
                typer.echo("Interrupted.", err=True)
                raise typer.Exit(interrupt.EXIT_CODE) from error
        return result

    def _reported(self, ctx: Any, pressed: threading.Event) -> Any:
        as_json = ctx.meta[_JSON]
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except LakehouseError as error:
            if not pressed.is_set():
                failures.report(error, as_json=as_json)
            raise typer.Exit(failures.exit_code(error)) from error
        except UsageError as error:
            if not as_json:
                raise
            step = f"See {ctx.command_path} --help"
            failures.report_json("UsageError", error.format_message(), step)
            raise typer.Exit(failures.USAGE) from error
        except BrokenPipeError as error:
            # Nobody reads any more; Python must not find that out again when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(failures.PIPE_CLOSED) from error
        return result

    def _load(self, name: str) -> Any:
        target: Any
        if name in self.plugins:
            target = load_plugin(self.plugins[name])
        else:
            module, _, function = COMMANDS[name][0].partition(":")
            target = getattr(importlib.import_module(module), function)
        command = get_command(target if isinstance(target, typer.Typer) else _wrapped(target, name))
        command.name = name
        return command


def plugins() -> dict[str, EntryPoint]:
    """Return the commands that other packages bring, by name; ours go first."""
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in COMMANDS}


def load_plugin(point: EntryPoint) -> typer.Typer:
    """Import the Typer app that an entry point names; LakehouseError if that fails."""
    try:
        app = point.load()
    except Exception as error:
        raise LakehouseError(
            f"the command {point.name} cannot be loaded from {point.value}: "
            f"{type(error).__name__}: {error}",
            next_step=f"Update or remove the package that brings it{_named(point)}",
        ) from error
    if not isinstance(app, typer.Typer):
        raise LakehouseError(
            f"the command {point.name} cannot be loaded: {point.value} is no Typer app",
            next_step=f"Update or remove the package that brings it{_named(point)}",
        )
    return app


def _named(point: EntryPoint) -> str:
    return f", {point.dist.name}" if point.dist is not None else ""


def _wrapped(function: Any, name: str) -> typer.Typer:
    single = typer.Typer(add_completion=False, rich_markup_mode="rich")
    single.command(name, help=_flowing(function), context_settings=_SETTINGS)(function)
    return single


def _flowing(function: Any) -> str:
    """Return a docstring whose paragraphs fill the terminal's lines, not those of the source."""
    return "\n\n".join(
        " ".join(paragraph.split()) for paragraph in (inspect.getdoc(function) or "").split("\n\n")
    )


def _show_version(value: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if value:
        typer.echo(f"lakehouse-storage {version('lakehouse-storage')}")
        raise typer.Exit


app = typer.Typer(
    name="lakehouse",
    cls=Program,
    no_args_is_help=True,
    context_settings=_SETTINGS,
    rich_markup_mode="rich",
    # Local variables may hold credentials.
    pretty_exceptions_enable=False,
    epilog=failures.epilogue(),
)


@app.callback()
def _lakehouse(
    *,
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Work with tables in bronze, silver and gold.

    Begin with [bold]init[/], [bold]load[/] and [bold]sql[/]; [bold]demo[/] shows what comes of it.

    Each command takes [bold]--lake[/] (default: LAKEHOUSE_URI, then ./lake) and [bold]--json[/].
    """


def main(args: Sequence[str] | None = None) -> None:
    """Run the program with ``args`` (default: those of the process), and exit."""
    app(args=args, prog_name="lakehouse")
