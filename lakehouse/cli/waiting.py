"""Show that work goes on, and how far it is, until there is something else to show."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TimeElapsedColumn

_PATIENCE = 1.5  # seconds in which nobody wonders
_REFRESH = 0.1  # seconds
_ends: list[Callable[[], None]] = []


@contextlib.contextmanager
def shown(fraction: Callable[[], float | None], *, wanted: bool = True) -> Iterator[None]:
    """Show a bar on standard error, if that is a terminal, for what takes longer than a moment.

    ``fraction`` is asked in another thread how much is done (0 to 1, None where that is not
    known). The bar is gone after `over`, which all that writes calls first.
    """
    console = Console(stderr=True)
    if not wanted or not console.is_terminal:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_draw, args=(console, fraction, ended), daemon=True)
    thread.start()

    def end() -> None:
        ended.set()
        thread.join()

    _ends.append(end)
    try:
        yield
    finally:
        end()
        _ends.remove(end)


def over() -> None:
    """Take the bar away, if there is one: something else is about to be shown."""
    for end in _ends:
        end()


def _draw(console: Console, fraction: Callable[[], float | None], ended: threading.Event) -> None:
    begun = console.get_time()
    if ended.wait(_PATIENCE):
        return
    bar = Progress(
        SpinnerColumn(),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    task = bar.add_task("", total=None)
    bar.tasks[0].start_time = begun
    with bar:
        while not ended.wait(_REFRESH):
            done = fraction()
            bar.update(task, total=None if done is None else 1.0, completed=done or 0)
            bar.refresh()
