"""The command layers."""

from __future__ import annotations

from typing import Annotated

import typer

from lakehouse.cli.options import JsonOption, LakeOption, open_lake
from lakehouse.cli.output import emit, stdout


def layers(
    *,
    declare: Annotated[
        str | None, typer.Option("--declare", metavar="NAME", help="Add a layer first.")
    ] = None,
    description: Annotated[
        str | None, typer.Option(help="What the new layer is for.", show_default=False)
    ] = None,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """List the layers, in the order in which they were declared."""
    with open_lake(lake) as opened:
        if declare:
            opened.declare_layer(declare, description=description)
        found = opened.catalog.state.layers.values()
    if json:
        emit({"layers": list(found)})
        return
    for layer in found:
        stdout().print(layer.name + (f"  {layer.description}" if layer.description else ""))
