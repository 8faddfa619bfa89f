"""Run statements: SQL, and the commands that begin with a dot."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import get_args

from rich.text import Text

from catalog.errors import InputError, LakehouseError
from catalog.names import near_misses
from lakehouse.cli import explained, listing, result, timeline
from lakehouse.cli.output import grid, say, stdout
from lakehouse.cli.shell import completion
from lakehouse.cli.shell.session import Session
from lakehouse.cli.shell.statements import Statement, split

_HISTORY = 20
FORMATS = get_args(result.Format)


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """Hold a dot command: its argument for people, what it does in words, and the function."""

    argument: str
    help: str
    run: Callable[[Session, str], None]


def script(session: Session, text: str) -> None:
    """Run a text's statements in order, up to the first that fails.

    The error says in which line that one begins, where there are several.
    """
    statements = split(text).every
    if not statements:
        raise InputError("the query is empty", next_step="Pass SQL, - or @FILE")
    for statement in statements:
        try:
            run(session, statement)
        except LakehouseError as error:
            if len(statements) == 1:
                raise
            raise error.amended(f"line {statement.line}: {error.message}") from error
        if session.is_over:
            return


def run(session: Session, statement: Statement) -> None:
    """Run one statement, and show what comes of it; LakehouseError where it fails."""
    if not statement.is_command:
        session.query(statement.text)
        return
    word, _, argument = statement.text.rstrip("; \t").partition(" ")
    name = word[1:].lower()
    meant = [known for known in COMMANDS if known.startswith(name)]
    name = meant[0] if len(meant) == 1 else name
    if name not in COMMANDS:
        near = near_misses(name, COMMANDS)
        step = f"Did you mean {' or '.join('.' + n for n in near)}?" if near else "See .help"
        raise InputError(f"there is no command .{name}", next_step=step)
    command = COMMANDS[name]
    argument = argument.strip()
    if argument and not command.argument:
        raise InputError(f".{name} takes no argument", next_step=f"Write .{name}")
    if not argument and command.argument and not command.argument.startswith("["):
        raise InputError(f".{name} needs {command.argument}", next_step="See .help")
    command.run(session, argument)


def complete(before: str, after: str, names: completion.Names) -> list[completion.Candidate]:
    """Return what may stand at the cursor: of a dot command, or of SQL."""
    line = before.lstrip()
    if not line.startswith(".") or "\n" in line:
        return completion.candidates(before, after, names)
    word, space, argument = line[1:].partition(" ")
    if not space:
        return _starting(word, COMMANDS, "command")
    command = COMMANDS.get(word.lower())
    if command is None:
        return []
    if command.argument == "[SQL]":
        return completion.candidates(argument, after, names)
    if command.argument == "TABLE":
        return _starting(argument, names.relations(), "table")
    choices = command.argument.partition(" ")[0]
    return _starting(argument, choices.split("|"), "choice") if "|" in choices else []


def _starting(
    typed: str, among: Iterable[str], kind: completion.Kind
) -> list[completion.Candidate]:
    found = (text for text in among if text.startswith(typed.lower()))
    return [completion.Candidate(text, len(typed), kind) for text in found]


def _help(_session: Session, _argument: str) -> None:
    listed = grid("", "")
    listed.show_header = False
    for name, command in COMMANDS.items():
        listed.add_row(Text(f".{name} {command.argument}", style="bold"), command.help)
    stdout().print(listed)


def _tables(session: Session, _argument: str) -> None:
    known = session.lake.tables()
    if known:
        stdout().print(listing.names_table(known))
    else:
        say("No tables yet.")


def _schema(session: Session, argument: str) -> None:
    table = session.lake.table(argument)
    detail = table.detail()
    stdout().print(listing.columns_table(listing.columns_of(table, detail), detail))


def _history(session: Session, argument: str) -> None:
    stdout().print(timeline.history_table(session.lake.table(argument).history(_HISTORY)))


def _explain(session: Session, argument: str) -> None:
    sql = argument or session.last
    if sql is None:
        raise InputError("there is no query yet", next_step="Write .explain SELECT ...")
    explained.show(session.lake.explain(sql))


def _timer(session: Session, argument: str) -> None:
    if argument not in ("on", "off"):
        raise InputError(f".timer {argument} is neither on nor off", next_step="Write .timer on")
    session.look = dataclasses.replace(session.look, timer=argument == "on")


def _limit(session: Session, argument: str) -> None:
    if argument != "all" and not argument.isdecimal():
        raise InputError(f"{argument} is no number of rows", next_step="Write .limit 100, or all")
    limit = None if argument == "all" else int(argument)
    session.look = dataclasses.replace(session.look, shown=limit, texts=limit)


def _mode(session: Session, argument: str) -> None:
    name, _, file = argument.partition(" ")
    wanted = next((form for form in FORMATS if form == name), None)
    if wanted is None:
        raise InputError(
            f"there is no mode {name}", next_step=f"Choose one of {', '.join(FORMATS)}"
        )
    _write_to(session, wanted, file)


def _output(session: Session, argument: str) -> None:
    form = session.look.form
    if argument:
        _write_to(session, None if form in result.SHOWN_ONLY else form, argument)
    else:
        _write_to(session, "table" if form == "parquet" else form, "")


def _write_to(session: Session, form: result.Format | None, file: str) -> None:
    output = Path(file.strip().strip("'\"")).expanduser() if file.strip() else None
    chosen = result.chosen_format(form, output, as_json=False)
    session.look = dataclasses.replace(session.look, form=chosen, output=output)


def _refresh(session: Session, _argument: str) -> None:
    session.names.forget()


def _quit(session: Session, _argument: str) -> None:
    session.is_over = True


COMMANDS: Mapping[str, Command] = {
    "help": Command("", "list these commands", _help),
    "tables": Command("", "list the tables", _tables),
    "schema": Command("TABLE", "a table's columns and their types", _schema),
    "history": Command("TABLE", f"a table's newest {_HISTORY} versions", _history),
    "explain": Command(
        "[SQL]", "what a query reads and skips; without SQL: the last one", _explain
    ),
    "mode": Command(
        f"{'|'.join(FORMATS)} [FILE]", "how results come out, each into FILE if named", _mode
    ),
    "output": Command("[FILE]", "write each result into FILE; without: show it again", _output),
    "limit": Command("N|all", "how many rows are shown", _limit),
    "timer": Command("on|off", "say how long queries take", _timer),
    "refresh": Command("", "forget what completion knows of tables and columns", _refresh),
    "quit": Command("", "leave; so does Ctrl-D", _quit),
}
