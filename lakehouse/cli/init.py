"""The command init: a lake, and the bucket and the users that it needs."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

import lakehouse
from catalog.errors import InputError
from catalog.storage import parse
from lakehouse.cli.options import DEFAULT, JsonOption, LakeOption, names
from lakehouse.cli.output import emit, plain, say


def init(
    path: Annotated[
        str | None,
        typer.Argument(help=f"Folder or URI; default --lake, then {DEFAULT}.", show_default=False),
    ] = None,
    *,
    layers: Annotated[
        str, typer.Option(help="The layers of a new lake, separated by commas.")
    ] = "bronze,silver,gold",
    endpoint_url: Annotated[
        str | None,
        typer.Option(
            envvar=["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
            help="The server of s3://..., such as http://127.0.0.1:9000.",
            show_default=False,
        ),
    ] = None,
    region: Annotated[
        str | None, typer.Option(envvar="AWS_REGION", help="Its region.", show_default=False)
    ] = None,
    users: Annotated[
        bool,
        typer.Option("--users", help="Make a writer and a reader on MinIO, for this lake only."),
    ] = False,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With --users: write their keys to a new file instead of standard output.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for the server to come up.")
    ] = 0.0,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """Create a lake, or do nothing where there is one.

    Without a path or --lake it is ./lake, which all commands then find by themselves.

    On a server of your own (s3://bucket/prefix and --endpoint-url) the bucket is made, too, with
    the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. LAKEHOUSE_WRITER_KEY,
    LAKEHOUSE_WRITER_SECRET and the same for READER choose the keys of --users.
    """
    where = path or lake or DEFAULT
    options = _options(where, endpoint_url=endpoint_url, region=region)
    if users and not options:
        raise InputError(
            "--users needs a server", next_step="Pass s3://bucket/prefix and --endpoint-url"
        )
    if keys is not None and not users:
        raise InputError("--keys needs --users", next_step="Pass both, or neither")
    server = None
    if options:
        with _new_file(keys) as file:
            server = _bootstrap(where, options, users=users, wait=wait)
            text = server.pop("profiles")
            if file is not None:
                file.write(text)
                for user in server["users"]:
                    user["secret"] = None
            elif not json:
                sys.stdout.write(text)
    try:
        lakehouse.connect(where, create=False, **options).close()
        created = False
    except lakehouse.NotFoundError:
        created = True
    with lakehouse.connect(where, layers=names([layers]), **options) as opened:
        document: dict[str, Any] = {
            "uri": opened.uri,
            "created": created,
            "layers": opened.layers(),
        }
    if json:
        emit(document if server is None else {**document, "server": server})
        return
    words = "Created a lake at" if created else "There is a lake already at"
    say(f"{words} {document['uri']} with layers {', '.join(document['layers'])}.")
    for line in _next_steps(where, options, server, keys):
        say(line, style="dim")


def _options(where: str, *, endpoint_url: str | None, region: str | None) -> dict[str, Any]:
    """Return the options of a server of the user's own; nothing for Amazon's, or a folder."""
    if not where.startswith("s3://") or not endpoint_url:
        return {}
    return {"endpoint_url": endpoint_url, **({"region": region} if region else {})}


def _bootstrap(where: str, options: dict[str, Any], *, users: bool, wait: float) -> dict[str, Any]:
    try:
        # The MinIO SDK is an extra.
        bootstrap = importlib.import_module("lakehouse.bootstrap")
    except ModuleNotFoundError as error:
        raise InputError(
            f"setting up a server needs {error.name}",
            next_step="Install it with: pip install 'lakehouse-storage[s3]'",
        ) from error
    place = parse(where)
    server = bootstrap.Server.of(
        options["endpoint_url"], region=options.get("region"), environment=os.environ
    )
    wanted = bootstrap.accounts(os.environ, bucket=place.host, prefix=place.path) if users else ()
    done = bootstrap.bootstrap(where, server, accounts=wanted, wait=wait)
    known = [(u.role, bootstrap.Keys(u.key, u.secret)) for u in done.users if u.secret]
    text = bootstrap.profiles(known, endpoint=server.endpoint, region=server.region)
    return {"endpoint": server.endpoint, **plain(done), "profiles": text}


@contextlib.contextmanager
def _new_file(path: Path | None) -> Iterator[TextIO | None]:
    """Open a new file that only its owner may read; it goes again where nothing is written."""
    if path is None:
        yield None
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InputError(f"cannot make {path}: {error}", next_step="Name a new file") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
    finally:
        if path.stat().st_size == 0:
            path.unlink()


def _next_steps(
    where: str, options: dict[str, Any], server: dict[str, Any] | None, keys: Path | None
) -> Iterator[str]:
    exports = [f"LAKEHOUSE_URI={where}"] if where != DEFAULT else []
    if server is not None:
        if server["versioned"]:
            yield f"The bucket {server['bucket']} is versioned: what is deleted still takes space."
        if keys is not None and keys.exists():
            exports += [f"AWS_SHARED_CREDENTIALS_FILE={keys}", "AWS_PROFILE=lakehouse-writer"]
        else:
            exports.append(f"AWS_ENDPOINT_URL={options['endpoint_url']}")
    if exports:
        yield f"Next: export {' '.join(exports)}"
    yield "Then: lakehouse load bronze.NAME FILES, and lakehouse sql 'SELECT ...'"
