"""The command policy: show and set what upkeep aims at."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from compaction.cli.proposed import tell
from compaction.policy import PROPERTIES, Policy, explained
from compaction.proposing import proposals
from compaction.schedule import PROPERTIES as WHEN
from compaction.schedule import Schedule
from lakehouse import InputError, Lake, NotFoundError, Table
from lakehouse.cli.options import JsonOption, LakeOption, complete_tables, open_lake, pairs
from lakehouse.cli.output import emit, grid, number, say, size, stdout
from lakehouse.table.copying import resolved

app = typer.Typer(add_completion=False)
_BYTES = ("target_bytes", "small_bytes", "group_bytes", "most_bytes")


@app.command()
def policy(
    name: Annotated[
        str,
        typer.Argument(
            metavar="TABLE|LAYER",
            help="A table, such as silver.flights, or a layer: all of its tables.",
            autocompletion=complete_tables,
            show_default=False,
        ),
    ],
    *,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Set a property of the table; repeat it for more.",
            show_default=False,
        ),
    ] = None,
    unset: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Go back to the default.", show_default=False),
    ] = None,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """Show what upkeep aims at for a table, or for all tables of a layer; set it first, if told to.

    Settings are properties of the tables, so that every engine sees them. Their names may be given
    without "lakehouse." in front.
    """
    changes = {_property(key): value for key, value in pairs(set_, option="--set").items()}
    gone = [_property(key) for key in unset or ()]
    with open_lake(lake) as opened:
        tables = _tables(opened, name)
        _check(changes, tables)
        for table in tables:
            _change(table, changes, gone)
        found = [_shown(table) for table in tables]
        advice = proposals(opened, tables=[table.name for table in tables])
    if json:
        emit({"policies": found, "proposals": advice})
        return
    for shown in found:
        _print(shown)
    tell(advice)


def _property(name: str) -> str:
    """Return a property's whole name.

    >>> _property("clusterBy"), _property("delta.targetFileSize")
    ('lakehouse.clusterBy', 'delta.targetFileSize')
    """
    known = {key.lower(): key for key in (*PROPERTIES, *WHEN)}
    for candidate in (name, f"lakehouse.{name}", f"delta.{name}"):
        if candidate.lower() in known:
            return known[candidate.lower()]
    raise InputError(
        f"{name!r} is no part of a policy",
        next_step=f"Set one of {', '.join((*PROPERTIES, *WHEN))}",
    )


def _check(changes: Mapping[str, str], tables: list[Table]) -> None:
    """Raise InputError before the first of several tables is changed."""
    Schedule().with_properties(changes)
    wanted = Policy.of(changes).clustering
    for table in tables:
        if wanted is not None:
            resolved(wanted, table.snapshot())


def _tables(lake: Lake, name: str) -> list[Table]:
    if "." in name:
        return [lake.table(name)]
    layer = lake.catalog.state.layer(name).name
    tables = [lake.table(info.name) for info in lake.tables(layer=layer)]
    if not tables:
        raise NotFoundError(f"layer {layer} has no table", next_step="Name a table")
    return tables


def _change(table: Table, changes: Mapping[str, str], gone: list[str]) -> None:
    if changes:
        report = table.alter().set_properties(dict(changes))
        say(f"{table.name}: set in version {number(report.version)}")
    present = [key for key in gone if key in table.properties]
    if present:
        report = table.alter().unset_properties(present)
        say(f"{table.name}: back to the default in version {number(report.version)}")


def _shown(table: Table) -> dict[str, Any]:
    layer = table.name.partition(".")[0]
    by_field = {field: key for key, (field, _) in PROPERTIES.items()}
    found = explained(table.properties, layer)
    made = Policy.of(table.properties, layer=layer)
    total = table.detail().bytes
    return {
        "table": table.name,
        "target_bytes": made.target(total),
        "small_bytes": made.small(total),
        "settings": [
            {
                "property": by_field[field.name],
                "value": _text(field.name, found[field.name][0]),
                "source": found[field.name][1],
            }
            for field in dataclasses.fields(Policy)
        ]
        + [
            {
                "property": name,
                "value": table.properties.get(name),
                "source": "property" if name in table.properties else "default",
            }
            for name in WHEN
        ],
    }


def _text(field: str, value: Any) -> str | None:
    """Return a setting as people write it.

    >>> _text("target_bytes", 128 << 20), _text("cluster_by", ("a", "b")), _text("windows", ())
    ('134.2 MB', 'a,b', None)
    """
    if value is None or value == ():
        return None
    if field in _BYTES:
        return size(value)
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _print(shown: Mapping[str, Any]) -> None:
    table = grid("property", "value", "from", title=shown["table"])
    automatic = {
        "delta.targetFileSize": f"auto: {size(shown['target_bytes'])}",
        "lakehouse.smallFileSize": f"auto: below {size(shown['small_bytes'])}",
    }
    for setting in shown["settings"]:
        value = setting["value"] or automatic.get(setting["property"], "none")
        table.add_row(setting["property"], value, setting["source"])
    stdout().print(table)
