"""The shell: SQL and dot commands, from a terminal or from a text."""

from typing import TYPE_CHECKING

from catalog import lazy

if TYPE_CHECKING:  # imported on first use: docs/decisions/0018
    from lakehouse.cli.shell import prompt as prompt

__getattr__ = lazy.names(__name__, {"lakehouse.cli.shell.prompt": ()})
