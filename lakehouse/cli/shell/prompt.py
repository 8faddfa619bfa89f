"""The interactive shell: a prompt with completion and history, by prompt_toolkit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.lexers import PygmentsLexer
from pygments.lexers.sql import PostgresLexer

from catalog.errors import LakehouseError
from lakehouse.cli import failures, interrupt
from lakehouse.cli.output import say
from lakehouse.cli.shell import commands, history
from lakehouse.cli.shell.completion import Names
from lakehouse.cli.shell.session import Session
from lakehouse.cli.shell.statements import split

_PROMPT = "lake> "
_MORE = "  ... "


def interact(session: Session) -> None:
    """Read statements from the terminal and run them, until Ctrl-D or ``.quit``."""
    count = len(session.lake.tables())
    say(f"{session.lake.uri}, {count} {'table' if count == 1 else 'tables'}")
    say("SQL ends with ; and Tab completes. .help lists commands, Ctrl-D leaves.", style="dim")
    prompt: PromptSession[str] = PromptSession(
        _PROMPT,
        multiline=Condition(lambda: split(get_app().current_buffer.text).rest is not None),
        # A line that only goes on below itself has no mark of its own.
        prompt_continuation=lambda width, line, is_wrapped: "" if is_wrapped else _MORE,  # noqa: ARG005
        completer=_Completer(session.names),
        complete_in_thread=True,
        complete_while_typing=False,
        history=_history(),
        lexer=PygmentsLexer(PostgresLexer),
    )
    while not session.is_over:
        try:
            _answer(session, prompt.prompt())
        except KeyboardInterrupt:
            continue  # what was typed is dropped, or the query was stopped
        except EOFError:
            break


def _answer(session: Session, text: str) -> None:
    """Run what was typed; an error, or Ctrl-C, ends that and not the shell."""
    for statement in split(text).complete:
        with interrupt.watch(patient=True) as pressed:
            interrupt.on_interrupt(session.lake.interrupt)
            try:
                commands.run(session, statement)
            except LakehouseError as error:
                if not pressed.is_set():
                    failures.report(error, as_json=False)
                    return
            except (KeyboardInterrupt, RuntimeError) as error:
                # Libraries that are interrupted report it in their own ways.
                if not pressed.is_set() and not isinstance(error, KeyboardInterrupt):
                    raise
            else:
                if not session.is_over:
                    continue
                return
            say("Interrupted.")
            return


def _history() -> History:
    path = history.history_file()
    return _PublicHistory(path) if history.prepare(path) else InMemoryHistory()


class _PublicHistory(FileHistory):
    """Keep what holds no secret; the rest is there until the shell ends."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))

    def store_string(self, string: str) -> None:
        if not history.is_private(string):
            super().store_string(string)


class _Completer(Completer):
    def __init__(self, names: Names) -> None:
        self._names = names

    def get_completions(
        self,
        document: Document,
        complete_event: CompleteEvent,  # noqa: ARG002 - prompt_toolkit calls it so
    ) -> Iterator[Completion]:
        before, after = document.text_before_cursor, document.text_after_cursor
        for found in commands.complete(before, after, self._names):
            yield Completion(
                found.text, start_position=-found.typed, display_meta=found.about or found.kind
            )
