"""The proofs as commands: read their arguments, run them, print their figures."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from lakehouse.lint.log import lint as lint_log
from lakehouse.testing.faults import Faults
from lakehouse.testing.kills import kills as run_kills
from lakehouse.testing.lost import lost_answers as run_lost_answers
from lakehouse.testing.places import STORES, at
from lakehouse.testing.stress import stress as run_stress

FOUND = 1
_SHOWN = 20


def stress(arguments: Sequence[str]) -> int:
    """Let processes work on one table; print what they did and what was wrong."""
    parser = _parser(
        "stress", "8 processes append to, merge into, rewrite and delete from one table"
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--faulty", action="store_true", help="on a store that fails on purpose")
    given = parser.parse_args(arguments)
    faults = Faults.bad_day(seed=given.seed) if given.faulty else None
    with at(given.store) as place:
        report = run_stress(given.seconds, seed=given.seed, faults=faults, place=place)
    title = "Stress on a faulty store" if given.faulty else "Stress"
    return show(_titled(title, given.store), given.seed, report.figures(), report.findings)


def kills(arguments: Sequence[str]) -> int:
    """Kill a writer again and again; print what was hit and what was wrong."""
    parser = _parser("kills", "a writer dies by kill -9, again and again")
    parser.add_argument("--count", type=int, default=200)
    given = parser.parse_args(arguments)
    with at(given.store) as place:
        report = run_kills(given.count, seed=given.seed, place=place)
    return show(_titled("Kills", given.store), given.seed, report.figures(), report.findings)


def lost_answers(arguments: Sequence[str]) -> int:
    """Lose the answer to every third commit; print what was written and what was wrong."""
    parser = _parser("lost-answers", "every third commit loses its answer")
    parser.add_argument("--count", type=int, default=300)
    given = parser.parse_args(arguments)
    with at(given.store) as place:
        report = run_lost_answers(given.count, seed=given.seed, place=place)
    return show(_titled("Lost answers", given.store), given.seed, report.figures(), report.findings)


def lint(arguments: Sequence[str]) -> int:
    """Lint the logs of tables, by path or URI; print what is wrong."""
    parser = argparse.ArgumentParser("python -m lakehouse.testing lint")
    parser.add_argument("tables", nargs="+")
    code = 0
    for table in parser.parse_args(arguments).tables:
        findings = lint_log(table)
        errors = [str(finding) for finding in findings if not finding.note]
        notes = [f"note: {finding}" for finding in findings if finding.note]
        print(*errors, *notes, sep="\n", end="\n" if findings else "")
        print(f"{table}: {len(errors)} errors, {len(notes)} notes")
        code |= FOUND if errors else 0
    return code


def show(title: str, seed: int, figures: Mapping[str, object], findings: Sequence[str]) -> int:
    """Print figures and findings; return the exit code."""
    print(f"{title} (seed {seed})")
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"  {name:{width}}  {value!s:>10}")
    for finding in findings[:_SHOWN]:
        print(f"  WRONG: {finding}")
    print(f"  {len(findings)} findings" if findings else "  nothing wrong")
    return FOUND if findings else 0


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(f"python -m lakehouse.testing {name}", description=description)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", choices=STORES, help="start this one (default: local disk)")
    return parser


def _titled(title: str, store: str | None) -> str:
    return title if store is None else f"{title} on {store}"
