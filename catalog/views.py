"""Rules for views: what depends on a name, and that no view depends on itself. Pure."""

from collections.abc import Mapping

from catalog.errors import InputError
from catalog.names import fold
from catalog.state import ViewEntry


def dependents(name: str, views: Mapping[str, ViewEntry]) -> tuple[str, ...]:
    """Return the views that read a table or view, directly or through others, sorted.

    >>> from datetime import datetime
    >>> view = lambda name, *of: ViewEntry(name, "", of, datetime.min)
    >>> views = {v.name: v for v in (view("gold.a", "silver.t"), view("gold.b", "gold.a"))}
    >>> dependents("silver.t", views), dependents("gold.b", views)
    (('gold.a', 'gold.b'), ())
    """
    readers: dict[str, list[str]] = {}
    for view in views.values():
        for read in view.depends_on:
            readers.setdefault(fold(read), []).append(view.name)
    found: set[str] = set()
    pending = [name]
    while pending:
        for reader in readers.get(fold(pending.pop()), ()):
            if reader not in found:
                found.add(reader)
                pending.append(reader)
    return tuple(sorted(found))


def check_unused(name: str, views: Mapping[str, ViewEntry], *, next_step: str) -> None:
    """Raise InputError, with the views in `views`, where some read a table or view."""
    if used := dependents(name, views):
        shown = ", ".join(used[:5]) + (f" and {len(used) - 5} more" if len(used) > 5 else "")
        raise InputError(
            f"{name} is read by {'views' if used[1:] else 'view'} {shown}",
            next_step=next_step,
            name=name,
            views=used,
        )


def check_acyclic(view: ViewEntry, views: Mapping[str, ViewEntry]) -> None:
    """Raise InputError for a view that would read itself."""
    reached = {fold(view.name), *map(fold, dependents(view.name, views))}
    through = [name for name in view.depends_on if fold(name) in reached]
    if through:
        raise InputError(
            f"view {view.name} would read itself, through {through[0]}",
            next_step="Name other tables in its query",
            name=view.name,
        )
