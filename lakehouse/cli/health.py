"""Examine an installation, a lake and its tables; ``doctor`` prints what is found."""

from __future__ import annotations

import dataclasses
import platform
import re
import uuid
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import Literal
from urllib.parse import unquote

import pyarrow as pa

import lakehouse
from catalog.errors import LakehouseError
from catalog.storage import Storage, open_storage
from catalog.storage.probe import ProbeResult
from lakehouse.cli.program import load_plugin, plugins
from lakehouse.lint.log import lint

DISTRIBUTION = "lakehouse-storage"
_CORE = ("duckdb", "deltalake", "pyarrow", "obstore", "sqlglot", "typer", "rich")
_EXTRA = re.compile(r"([A-Za-z0-9._-]+).*\bextra\s*==\s*['\"](\w+)['\"]")

_READERS = {
    "disk": "read from disk by DuckDB",
    "duckdb": "fetched by DuckDB's own extension",
    "obstore": "fetched by obstore, through a file system in Python",
}

Status = Literal["ok", "note", "bad"]


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """Hold one thing that was looked at. ``bad`` makes the whole unhealthy, ``note`` does not."""

    about: str
    status: Status
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class TableHealth:
    """Hold what was found of a table; ``deltalake`` tells whether the second opinion is ours."""

    name: str
    version: int | None
    files: int | None
    missing: tuple[str, ...]
    deltalake: bool | None
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.problems


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of the libraries it stands on."""
    found = {"python": platform.python_version(), DISTRIBUTION: version(DISTRIBUTION)}
    return found | {name: _version(name) or "missing" for name in _CORE}


def extras() -> dict[str, dict[str, str | None]]:
    """Return, by extra, the libraries that it installs with their versions; None is absent."""
    found: dict[str, dict[str, str | None]] = {}
    for line in requires(DISTRIBUTION) or ():
        match = _EXTRA.match(line)
        if match is not None and match[1] != DISTRIBUTION:
            found.setdefault(match[2], {})[match[1]] = _version(match[1])
    declared = metadata(DISTRIBUTION).get_all("Provides-Extra") or ()
    return {name: found[name] for name in declared if name in found and name != "all"}


def commands() -> list[Finding]:
    """Return the commands of other packages, and whether they can be loaded."""
    findings = []
    for name, point in sorted(plugins().items()):
        try:
            load_plugin(point)
        except LakehouseError as error:
            findings.append(Finding(f"command {name}", "bad", error.message))
        else:
            findings.append(Finding(f"command {name}", "ok", point.value))
    return findings


def storage(lake: lakehouse.Lake, *, probe: bool = False) -> list[Finding]:
    """Return whether the lake can be read and written, and whether its puts are exclusive.

    ``probe`` tries out all that a store must keep; without, it is what is remembered of that.
    """
    place = lake.catalog.storage
    state = lake.catalog.state
    result = lake.catalog.probe() if probe else lake.catalog.probed()
    findings = [
        Finding("catalog", "ok", f"version {state.version}, {len(state.tables)} tables"),
        Finding("data files", "ok", _READERS[lake.reader]),
        *(_probed(result) if result else ()),
    ]
    name = f"_probe-{uuid.uuid4().hex}"
    try:
        first = place.put_if_absent(name, b"1")
        second = place.put_if_absent(name, b"2")
        kept = place.read(name)
        place.delete([name])
    except LakehouseError as error:
        return [*findings, Finding("writing", "bad", str(error))]
    if first and not second and kept == b"1":
        return [*findings, Finding("writing", "ok", "a second writer of one name is refused")]
    text = "storage lets a second writer replace a file: commits of others could be lost"
    return [*findings, Finding("writing", "bad", text)]


def examine(lake: lakehouse.Lake, info: lakehouse.TableInfo, *, deep: bool = False) -> TableHealth:
    """Open a table, ask deltalake about the same version, and look for its data files.

    ``deep`` lints its whole log as well.
    """
    problems: list[str] = []
    notes: list[str] = []
    try:
        table = lake.table(info.name)
        at = table.version
        listed = table.files(version=at)
        sizes = dict(zip(listed["path"].to_pylist(), listed["size_bytes"].to_pylist(), strict=True))
        present = {item.path: item.size for item in _place(lake, info).list()}
    except LakehouseError as error:
        return TableHealth(info.name, None, None, (), None, (str(error),))
    # A listing does not follow links to folders, and some tables have them.
    place = _place(lake, info)
    missing = tuple(path for path in sizes if path not in present and place.head(path) is None)
    if missing:
        problems.append(f"{len(missing)} of {len(sizes)} data files are missing")
    changed = [path for path, size in sizes.items() if present.get(path, size) != size]
    if changed:
        problems.append(f"{len(changed)} data files have another size, such as {changed[0]}")
    agrees = None
    try:
        agrees = _second_opinion(table, at, set(sizes))
    except (LakehouseError, OSError) as error:
        notes.append(f"no second opinion: {error}")
    if agrees is False:
        problems.append("deltalake sees other files in this version")
    if deep:
        try:
            # Files that are missing, or of another size, were looked for above.
            findings = [f for f in lint(_place(lake, info)) if f.rule != "files"]
        except LakehouseError as error:
            problems.append(str(error))
        else:
            problems += [str(finding) for finding in findings if not finding.note]
            notes += [str(finding) for finding in findings if finding.note]
    return TableHealth(info.name, at, len(sizes), missing, agrees, tuple(problems), tuple(notes))


def _probed(result: ProbeResult) -> list[Finding]:
    when = f"{result.endpoint}, probed {result.at:%Y-%m-%d %H:%M} UTC"
    verdict: Status = "bad" if result.verdict == "unfit" else "ok"
    found = [Finding("store", verdict if result.verdict != "unknown" else "note", when)]
    for check in result.checks:
        failed: Status = "bad" if check.required and check.passed is False else "note"
        found.append(Finding(check.name, "ok" if check.passed else failed, check.detail))
    return found


def _second_opinion(table: lakehouse.Table, at: int, files: set[str]) -> bool:
    """Tell whether deltalake sees the same files, and no older version as the newest."""
    newest = table.to_deltalake().version()
    theirs = table.to_deltalake(version=at).get_add_actions(flatten=True)
    # It gives paths as they stand in the log: as URIs.
    paths = {unquote(path) for path in pa.table(theirs)["path"].to_pylist()}
    return newest >= at and paths == files


def _place(lake: lakehouse.Lake, info: lakehouse.TableInfo) -> Storage:
    entry = lake.catalog.table(info.name)
    root = lake.catalog.storage
    if entry.managed:
        return root.child(entry.location)
    return open_storage(entry.location, **dict(root.options))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
