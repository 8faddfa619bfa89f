"""Build the demo's tables: raw files into bronze, bronze into silver, silver into gold."""

from __future__ import annotations

from lakehouse import DataError, Lake, Table
from lakehouse.demo.queries import CARRIERS, GOLD, REFERENCE, SILVER, SILVER_COLUMNS, WEEKS
from lakehouse.demo.show import Show, schema_code
from lakehouse.demo.source import NEW_COLUMN, NEW_IN, REFERENCES, Source

# Every table of the demo carries this property: only such tables are replaced by a later run.
MARK = {"lakehouse.demo": "nycflights13"}


def bronze(lake: Lake, source: Source, show: Show) -> None:
    """Append the raw months one by one, and load the reference tables."""
    show.say("Everything is text and nothing is repaired. Each month is one commit.")
    show.python(
        'flights = lake.create_table("bronze.flights", january.schema)\n'
        'flights.append(january, metadata={"delivery": "2013-01"})'
    )
    with show.busy("Unpacking the raw flights"):
        months = source.deliveries()
    flights = lake.create_table(
        "bronze.flights", months[1].schema, description="Flights as delivered", properties=MARK
    )
    refusal = ""
    with show.progress("Appending months", len(months)) as bar:
        for number, rows in months.items():
            note = {"delivery": f"2013-{number:02}"}
            try:
                flights.append(rows, metadata=note)
            except DataError as error:
                # A new column is never taken silently; the demo shows what the lake says.
                if number != NEW_IN:
                    raise
                refusal = str(error)
                flights.append(rows, schema_mode="add", metadata=note)
            bar.advance(bar.task_ids[0])
    show.gap()
    show.say(f"In April the files get a new column, [bold]{NEW_COLUMN}[/]. The lake asks first:")
    show.python("flights.append(april)")
    show.result(f"[red]DataError:[/] {refusal}")
    show.python('flights.append(april, schema_mode="add")')
    show.gap()
    show.say("The airlines, airports, planes and weather come from plain CSV files:")
    show.python("rows = lake.sql(\"FROM read_csv('planes.csv', all_varchar => true)\")")
    show.python('lake.create_table("bronze.planes", rows).append(rows)')
    for name in REFERENCES:
        rows = lake.sql(REFERENCE, {"path": str(source.reference(name))})
        lake.create_table(f"bronze.{name}", rows, properties=MARK).append(rows)
    show.gap()
    show.say("Who wrote what, and when, is in the table's history:")
    show.python("flights.history()")
    _history(flights, show)


def silver(lake: Lake, show: Show) -> None:
    """Make the silver table by one query: typed, without duplicates, joined."""
    show.say("A table that takes only values that fit its types, and one query to fill it.")
    show.python(
        f'silver = lake.create_table("silver.flights", {schema_code(SILVER_COLUMNS)}, '
        'partition_by="month")'
    )
    show.gap()
    show.sql(SILVER)
    show.gap()
    show.python("silver.append(lake.sql(query))")
    table = lake.create_table(
        "silver.flights",
        dict(SILVER_COLUMNS),
        partition_by="month",
        description="Flights, typed, each once, with airline, airport, plane and weather",
        properties=MARK,
    )
    with show.busy("Reading, joining, sorting and writing"):
        report = table.append(lake.sql(SILVER))
    show.result(
        f"[bold]{report.rows:,}[/] rows in {report.files_added} files, "
        f"{report.bytes_added / 1e6:.1f} MB, {report.seconds:.1f} s, committed as version {report.version}."
    )


def gold(lake: Lake, show: Show) -> None:
    """Make the gold tables: delays by carrier, by airport and by day."""
    show.say("Small tables that answer questions: by carrier, by airport, by day.")
    show.sql(GOLD["gold.delays_by_carrier"])
    show.python("rows = lake.sql(query)")
    show.python('lake.create_table("gold.delays_by_carrier", rows).overwrite(rows)')
    for name, query in GOLD.items():
        rows = lake.sql(query)
        lake.create_table(name, rows, properties=MARK).overwrite(rows)


def results(lake: Lake, show: Show) -> None:
    """Show what the gold tables hold."""
    show.gap()
    show.sql(CARRIERS)
    found = lake.sql(CARRIERS)
    show.table(found.columns, found.fetchall(), bar="late %")
    show.gap()
    show.say("Arrivals 15 minutes late or more, percent of a day, mean by week:")
    show.columns([(row[0], row[1]) for row in lake.sql(WEEKS).fetchall()], height=7)


def _history(flights: Table, show: Show) -> None:
    rows = []
    for commit in reversed(flights.history()):
        if commit.operation != "WRITE" or not isinstance(commit.metadata, dict):
            continue
        delivery = str(commit.metadata.get("delivery"))
        notes = {"2013-04": "new column time_hour", "2013-07": "June 29 and 30 once more"}
        count = int(commit.metrics["numOutputRows"])
        volume = f"{int(commit.metrics['numOutputBytes']) / 1000:,.0f} kB"
        when = f"{commit.timestamp:%H:%M:%S.%f}"[:-3]
        rows.append((commit.version, when, delivery, count, volume, notes.get(delivery, "")))
    show.table(("version", "at (UTC)", "delivery", "rows", "bytes", ""), rows)
