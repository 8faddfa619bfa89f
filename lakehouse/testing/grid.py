"""Print the pair matrix: a grid for every kind of table, totals, and what is wrong."""

from __future__ import annotations

import argparse
import collections
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from lakehouse.testing.matrix import Cell, Matrix, Side, pairs
from lakehouse.testing.tables import KINDS

_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "committed": "commit", "rebased": "rebase", "redone": "redo", "nothing": "-",
        "refused": "refuse", "conflict": "lose", "unsupported": "n/a", "no first": "n/a",
    }
)  # fmt: skip
_LEGEND = """\
commit  at the first put             rebase  behind the other's commit, as planned
redo    planned again on the other's -       there was nothing to do (any more)
refuse  does not fit (any more)      lose    gave up against the other; nothing changed
n/a     not on such a table          !       needless refusal      !!  wrong table"""
_SIDES: tuple[tuple[Side, Side], ...] = (
    ("ours", "ours"), ("delta-rs", "ours"), ("ours", "delta-rs"),
)  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Run and print the matrix; return 1 where one of our own operations was wrong."""
    options = _parser().parse_args(arguments)
    started, failed, theirs = time.perf_counter(), 0, 0
    print(_LEGEND)
    with Matrix() as matrix:
        for first_by, second_by in _SIDES:
            if options.ours and (first_by, second_by) != ("ours", "ours"):
                continue
            cells: list[Cell] = []
            for kind in options.kinds:
                for overlap in (True, False):
                    chosen = pairs(
                        kinds=[kind], overlaps=[overlap], first_by=first_by, second_by=second_by
                    )
                    done = [matrix.run(pair) for pair in chosen]
                    print("\n" + "\n".join(grid(done)), flush=True)
                    cells += done
            print("\n" + "\n".join(totals(cells)))
            problems = sum(cell.problem is not None for cell in cells)
            if second_by == "ours":
                failed += problems
            else:
                theirs += problems
    print(
        f"\n{failed} problems of ours, {theirs} of delta-rs, in {time.perf_counter() - started:.0f} s"
    )
    return 1 if failed else 0


def grid(cells: Sequence[Cell]) -> Iterator[str]:
    """Yield the lines of a grid: first operations downwards, stale second ones across."""
    pair = cells[0].pair
    down = tuple(dict.fromkeys(cell.pair.first for cell in cells))
    across = tuple(dict.fromkeys(cell.pair.second for cell in cells))
    rows = "the same rows" if pair.overlap else "other rows"
    yield (
        f"{pair.kind}, {rows}: first (down) by {pair.first_by}, "
        f"stale second (across) by {pair.second_by}"
    )
    yield " " * 21 + "".join(f"{number:>9}" for number in range(1, len(across) + 1))
    by_names = {(cell.pair.first, cell.pair.second): cell for cell in cells}
    for number, first in enumerate(down, 1):
        words = (_word(by_names[first, second]) for second in across)
        yield f"{number:>3} {first:<17}" + "".join(f"{word:>9}" for word in words)
    if across != down:
        listed = (f"{number} {name}" for number, name in enumerate(across, 1))
        yield "    across: " + ", ".join(listed)


def totals(cells: Sequence[Cell]) -> Iterator[str]:
    """Yield how often each outcome was, and every problem once."""
    pair = cells[0].pair
    counts = collections.Counter(cell.outcome for cell in cells)
    text = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    yield f"{len(cells)} pairs, {pair.first_by} before {pair.second_by}: {text}"
    wrong = [cell for cell in cells if cell.problem and not cell.needless]
    needless = [cell for cell in cells if cell.problem and cell.needless]
    yield f"  wrong tables: {len(wrong)}"
    yield from _listed(wrong)
    yield f"  needless refusals: {len(needless)}"
    yield from _listed(needless)


def _listed(cells: Iterable[Cell]) -> Iterator[str]:
    seen: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        seen.setdefault((cell.pair.first, cell.pair.second), []).append(cell)
    for (first, second), same in seen.items():
        yield f"    {first}, then {second}, on {len(same)} of {2 * len(KINDS)} tables"
        yield f"      {same[0].problem}".partition("\n")[0][:200]


def _word(cell: Cell) -> str:
    mark = "" if cell.problem is None else "!" if cell.needless else "!!"
    return _WORDS[cell.outcome] + mark


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lakehouse.testing matrix", description=__doc__)
    parser.add_argument("--ours", action="store_true", help="leave delta-rs out")
    parser.add_argument(
        "--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), help="kinds of tables"
    )
    return parser
