"""Files to load: which format they have, and the SQL that reads them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

import lakehouse
from catalog.errors import InputError
from lakehouse.duck.sql import literal

Format = Literal["csv", "json", "parquet"]
_SUFFIXES: Mapping[str, Format] = MappingProxyType(
    {
        ".csv": "csv",
        ".tsv": "csv",
        ".txt": "csv",
        ".json": "json",
        ".jsonl": "json",
        ".ndjson": "json",
        ".parquet": "parquet",
        ".pq": "parquet",
    }
)
_COMPRESSED = (".gz", ".zst")
_OPTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Hold files or globs to read; ``options`` are those of DuckDB's reader."""

    files: tuple[str, ...]
    format: Format | None = None
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def sql(self) -> str:
        """Return the query that reads the files.

        Columns of several files are matched by name.

        >>> Source(("months/*.csv.gz",), options={"delim": ";"}).sql()
        "SELECT * FROM read_csv(['months/*.csv.gz'], union_by_name = true, delim = ';')"
        """
        options = {name.lower(): _value(text) for name, text in self.options.items()}
        for name in options:
            if not _OPTION.fullmatch(name):
                raise InputError(
                    f"--option {name!r} is no name of an option",
                    next_step="Use those of DuckDB's readers, such as delim=; or header=false",
                )
        if len(self.files) > 1 or any(_is_glob(file) for file in self.files):
            options = {"union_by_name": "true", **options}
        files = ", ".join(literal(_escaped(file)) for file in self.files)
        settings = "".join(f", {name} = {value}" for name, value in options.items())
        return f"SELECT * FROM read_{self._format()}([{files}]{settings})"

    def schema(self, lake: lakehouse.Lake) -> Any:
        """Return the columns as a `pyarrow.Schema`, without reading the rows."""
        return lake.sql(f"{self.sql()} LIMIT 0").to_arrow_table().schema

    def rows(self, lake: lakehouse.Lake) -> int | None:
        """Return how many rows there are, where the files say so at their end."""
        if self._format() != "parquet":
            return None
        files = ", ".join(literal(_escaped(file)) for file in self.files)
        query = f"SELECT sum(num_rows) FROM parquet_file_metadata([{files}])"
        ((count,),) = lake.sql(query).fetchall()
        return None if count is None else int(count)

    def _format(self) -> Format:
        if self.format is not None:
            return self.format
        found = {format_of(file) for file in self.files}
        if len(found) > 1:
            raise InputError(
                f"the files have different formats: {', '.join(sorted(found))}",
                next_step="Load them one format at a time",
            )
        return found.pop()


def format_of(file: str) -> Format:
    """Return a file's format by its name, compressed or not.

    >>> format_of("2013/*.ndjson.zst")
    'json'
    """
    name = file.lower()
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    found = _SUFFIXES.get(Path(name).suffix)
    if found is None:
        raise InputError(
            f"cannot tell the format of {file} by its name",
            next_step=f"Pass --format with one of {', '.join(get_args(Format))}",
        )
    return found


def _is_glob(file: str) -> bool:
    return any(character in file for character in "*?[") and not Path(file).exists()


def _escaped(file: str) -> str:
    """Return a file's name so that DuckDB reads it as one, and a glob as a glob."""
    return file if _is_glob(file) else re.sub(r"([\[*?])", r"[\1]", file)


def _value(text: str) -> str:
    # Lists and structs ({'id': 'BIGINT'}) are SQL; all else is text, which DuckDB converts.
    return text if text[:1] in ("{", "[") else literal(text)
