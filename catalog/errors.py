"""The errors of the lakehouse, grouped by what the caller does next.

::

    LakehouseError(Exception)
    ├── InputError(ValueError)                    fix the call
    │   ├── NotFoundError(KeyError)               no such table, layer, column or version
    │   ├── AlreadyExistsError                    the name or the place is taken
    │   └── DataError                             rows do not fit the schema or a constraint
    ├── UnsupportedError(NotImplementedError)     use other software, or a newer version of ours
    ├── ConflictError                             somebody else's commit won: retry the operation
    ├── OutcomeUnknownError                       sent, but no answer: look before retrying
    ├── StorageError(OSError)                     permission, full disk, unreachable, missing file
    └── CorruptionError                           the log, the catalog or a file is damaged: repair
"""

from collections.abc import Callable
from typing import Self


class LakehouseError(Exception):
    """Report a problem together with its next step.

    Every further keyword becomes an attribute, so that programs need not parse the text.
    All of it survives pickling, and with it the way home from a worker process.

    >>> error = InputError("limit is -1", next_step="Pass a positive number", limit=-1)
    >>> str(error), error.limit
    ('limit is -1. Pass a positive number', -1)
    """

    message: str
    next_step: str | None

    def __init__(self, message: str, *, next_step: str | None = None, **attributes: object) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self._attributes = attributes
        for name, value in attributes.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        # Defined here because KeyError would show a repr and OSError an errno.
        if not self.next_step:
            return self.message
        separator = " " if self.message.endswith((".", "!", "?")) else ". "
        return f"{self.message}{separator}{self.next_step}"

    def amended(self, message: str, **attributes: object) -> Self:
        """Return the same error with another message and more attributes."""
        known = {**self._attributes, **attributes}
        return type(self)(message, next_step=self.next_step, **known)

    def advised(self, next_step: str) -> Self:
        """Return the same error with another next step."""
        return type(self)(self.message, next_step=next_step, **self._attributes)

    def __reduce__(self) -> tuple[Callable[..., "LakehouseError"], tuple[object, ...]]:
        return _rebuild, (type(self), self.message, self.next_step, self._attributes)


class InputError(LakehouseError, ValueError):
    """Report a call that cannot work: a bad argument, name or statement."""


class NotFoundError(InputError, KeyError):
    """Report a name that does not exist; `near` holds names that are close to it."""

    near: tuple[str, ...] = ()


class AlreadyExistsError(InputError):
    """Report a name or a location that is taken."""


class DataError(InputError):
    """Report rows that fit neither schema nor constraints, with a few of them in `samples`."""

    column: str | None = None
    count: int | None = None
    samples: tuple[object, ...] = ()


class UnsupportedError(LakehouseError, NotImplementedError):
    """Report something, named, that this version neither reads nor writes."""

    features: tuple[str, ...] = ()


class ConflictError(LakehouseError):
    """Report a commit that lost against somebody else's; nothing was changed."""


class OutcomeUnknownError(LakehouseError):
    """Report a write that was sent and never answered: it may or may not have happened."""


class StorageError(LakehouseError, OSError):
    """Report storage that refuses or fails; `missing` tells an absent file from the rest."""

    missing: bool = False


class CorruptionError(LakehouseError):
    """Report a damaged log, catalog document or data file, named in the message."""


def _rebuild(
    kind: type[LakehouseError],
    message: str,
    next_step: str | None,
    attributes: dict[str, object],
) -> LakehouseError:
    return kind(message, next_step=next_step, **attributes)
