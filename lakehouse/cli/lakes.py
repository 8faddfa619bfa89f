"""Commands on the lake itself: init, layers."""

from __future__ import annotations

from typing import Annotated

import typer

import lakehouse
from lakehouse.cli.options import DEFAULT, JsonOption, LakeOption, names, open_lake
from lakehouse.cli.output import emit, say, stdout


def init(
    path: Annotated[
        str | None,
        typer.Argument(help=f"Folder or URI; default --lake, then {DEFAULT}.", show_default=False),
    ] = None,
    *,
    layers: Annotated[
        str, typer.Option(help="The layers of a new lake, separated by commas.")
    ] = "bronze,silver,gold",
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """Create a lake, or do nothing where there is one.

    Without a path or --lake it is ./lake, which all commands then find by themselves.
    """
    where = path or lake or DEFAULT
    try:
        lakehouse.connect(where, create=False).close()
        created = False
    except lakehouse.NotFoundError:
        created = True
    with lakehouse.connect(where, layers=names([layers])) as opened:
        document = {"uri": opened.uri, "created": created, "layers": opened.layers()}
    if json:
        emit(document)
    else:
        words = "Created a lake at" if created else "There is a lake already at"
        say(f"{words} {document['uri']} with layers {', '.join(opened.layers())}.")


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
