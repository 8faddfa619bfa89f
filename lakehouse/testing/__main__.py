"""Run a proof and print its figures: ``python -m lakehouse.testing kills``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from lakehouse.testing import grid, nightly, proofs

# Each takes the arguments after its name, prints, and returns the exit code.
PROOFS: Mapping[str, Callable[[Sequence[str]], int]] = MappingProxyType(
    {
        "kills": proofs.kills,
        "lint": proofs.lint,
        "lost-answers": proofs.lost_answers,
        "machine": nightly.main,
        "matrix": grid.main,
        "stress": proofs.stress,
    }
)


def main(arguments: Sequence[str]) -> int:
    """Run the proof that the first argument names."""
    if not arguments or arguments[0] not in PROOFS:
        print(f"usage: python -m lakehouse.testing {{{','.join(PROOFS)}}} ...", file=sys.stderr)
        return 2
    return PROOFS[arguments[0]](arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
