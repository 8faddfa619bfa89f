"""Names of layers and tables: what is valid, what is the same name, what is close to one."""

import difflib
import re
import unicodedata
from collections.abc import Iterable

from catalog.errors import InputError

MAX_LENGTH = 128
RESERVED = frozenset(
    {
        "_catalog",
        "_holds",
        "_leases",
        "_maintenance",
        "information_schema",
        "main",
        "memory",
        "pg_catalog",
        "system",
        "temp",
    }
)
# Databases of the embedded DuckDB in which queries are planned and run.
_OURS = re.compile(r"(plan|scan|probe)\d+|stand_in|lakehouse_temporary")
_ASCII = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RULE = "letters, digits and underscores, not starting with a digit"


def validate_layer(name: object) -> str:
    """Return a layer's name in its normal form (NFC); raise InputError if it is not valid.

    Names DuckDB gives a meaning to (`main`, `temp`, `system`, ...) are reserved, because a
    layer is a schema in SQL.

    >>> validate_layer("bronze")
    'bronze'
    >>> validate_layer("Main")
    Traceback (most recent call last):
    catalog.errors.InputError: layer name 'Main' is reserved. Use another name, such as 'main_'
    """
    part = _validate_part(name, what="layer name")
    if fold(part) in RESERVED or _OURS.fullmatch(fold(part)):
        raise InputError(
            f"layer name {name!r} is reserved",
            next_step=f"Use another name, such as {fold(part).lstrip('_') + '_'!r}",
        )
    return part


def validate_table_name(name: object) -> tuple[str, str]:
    """Split `layer.table` into its two valid parts; raise InputError that shows a valid form.

    Letters and digits of every script are allowed, up to 128 characters a part.

    >>> validate_table_name("silver.flights")
    ('silver', 'flights')
    >>> validate_table_name("silver.flight data")
    Traceback (most recent call last):
    catalog.errors.InputError: table name 'flight data' holds ' '. Names are letters, digits and \
underscores, not starting with a digit, such as 'flight_data'
    """
    if not isinstance(name, str) or name.count(".") != 1:
        raise InputError(
            f"{name!r} is not a table's name",
            next_step="Write layer.table, such as 'silver.flights'",
        )
    layer, _, table = name.partition(".")
    return validate_layer(layer), _validate_part(table, what="table name")


def fold(name: str) -> str:
    """Return the form in which two spellings of one name are equal, as SQL ignores case.

    >>> fold("Silver.Flights") == fold("silver.FLIGHTS")
    True
    """
    return name.casefold() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def near_misses(name: str, candidates: Iterable[str]) -> tuple[str, ...]:
    """Return up to three candidates that somebody who typed `name` may have meant, best first.

    >>> near_misses("silver.flight", ["silver.flights", "gold.delays"])
    ('silver.flights',)
    >>> near_misses("flights", ["silver.flights", "gold.delays"])
    ('silver.flights',)
    """
    wanted = fold(name)
    whole = _Likeness(wanted)
    # The right table in another layer, or without its layer, is a likely slip too.
    last = _Likeness(wanted.rpartition(".")[2])
    best: list[tuple[float, str]] = []
    for candidate in candidates:
        folded = fold(candidate)
        enough = -best[2][0] if len(best) == 3 else 0.7
        score = whole.to(folded, at_least=enough)
        if "." in folded:
            score = max(score, 0.95 * last.to(folded.rpartition(".")[2], at_least=enough))
        if score >= enough:
            best = sorted([*best, (-score, candidate)])[:3]
    return tuple(candidate for _, candidate in best)


class _Likeness:
    """Compare many words with one, which difflib then analyses only once."""

    def __init__(self, word: str) -> None:
        self._matcher = difflib.SequenceMatcher(None, "", word, autojunk=False)

    def to(self, other: str, *, at_least: float) -> float:
        """Return how like the words are, 0 to 1, or 0 if that is less than needed."""
        self._matcher.set_seq1(other)
        # The cheap upper bounds first: a catalog may hold many thousand names.
        if self._matcher.real_quick_ratio() < at_least or self._matcher.quick_ratio() < at_least:
            return 0.0
        return self._matcher.ratio()


def _validate_part(name: object, *, what: str) -> str:
    if not isinstance(name, str):
        raise InputError(f"{what} {name!r} is not text", next_step="Pass a string")
    part = name if name.isascii() else unicodedata.normalize("NFC", name)
    if len(part) <= MAX_LENGTH and _ASCII.fullmatch(part):
        return part
    if not part:
        problem = "is empty"
    elif len(part) > MAX_LENGTH:
        problem = f"has {len(part)} characters, more than {MAX_LENGTH}"
    elif unwanted := "".join(dict.fromkeys(c for c in part if not _is_word(c))):
        problem = f"holds {unwanted!r}"
    elif not (part[0] == "_" or part[0].isalpha()):
        problem = "does not start with a letter or an underscore"
    else:
        return part
    raise InputError(
        f"{what} {_shorten(name)!r} {problem}",
        next_step=f"Names are {_RULE}, such as {_suggest(part)!r}",
    )


def _is_word(character: str) -> bool:
    # Marks are part of the letters of many scripts (the vowel signs of Hindi, for one).
    return character == "_" or unicodedata.category(character)[0] in "LM" or character.isdecimal()


def _suggest(part: str) -> str:
    words = "".join(c if _is_word(c) else "_" for c in part).strip("_")[: MAX_LENGTH - 1]
    words = re.sub("_+", "_", words) or "flights"
    return words if words[0].isalpha() else f"_{words}"


def _shorten(name: str) -> str:
    return name if len(name) <= MAX_LENGTH else name[:40] + "…"
