"""Tour the finished lake: SQL and what it skips, time travel, and the files on disk."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath

from rich.text import Text
from rich.tree import Tree

from catalog.storage import StoredObject, open_storage
from lakehouse import Lake, TableScan
from lakehouse.demo import queries
from lakehouse.demo.show import Show
from lakehouse.demo.source import NEW_COLUMN, NEW_IN


def questions(lake: Lake, show: Show) -> None:
    """Ask in SQL, and show which files were skipped and why."""
    for query in (queries.WORST_DAYS, queries.CHRISTMAS):
        show.sql(query)
        found = lake.sql(query)
        show.table(found.columns, found.fetchall())
        show.gap()
    show.say("Which files does a query open? Ask before you run it:")
    show.python('print(lake.explain("SELECT ... WHERE ..."))')
    rows = []
    for where, query in queries.SKIPPING.items():
        scan = lake.explain(query).tables[0]
        volume = f"{scan.bytes_kept / 1e6:.1f} of {scan.bytes_total / 1e6:.1f} MB"
        rows.append((where, scan.files_kept, scan.files_total, volume, _why(scan)))
    show.files(rows)


def travel(lake: Lake, show: Show) -> None:
    """Read earlier versions, see the schema then and now, and undo a mistake."""
    then = next(
        commit.timestamp
        for commit in lake.table("bronze.flights").history()
        if commit.version == NEW_IN - 1
    )
    show.sql(f"{queries.DELIVERED} {queries.AT_VERSION}")
    rows = []
    for at in (queries.AT_VERSION, queries.AT_TIMESTAMP.format(f"{then:%F %T.%f}"[:-3]), ""):
        names = lake.sql(f"SELECT * FROM bronze.flights {at} LIMIT 0").columns
        new = "" if NEW_COLUMN in names else f"no {NEW_COLUMN}"
        rows.append((at or "now", _count(lake, f"{queries.DELIVERED} {at}"), len(names), new))
    show.table(("bronze.flights", "rows", "columns", ""), rows)
    show.gap()
    show.say("A slip of the hand, and back:")
    silver = lake.table("silver.flights")
    good = silver.version
    show.python(f'silver.overwrite(silver.read(where="{queries.MISTAKE}"))')
    silver.overwrite(silver.read(where=queries.MISTAKE))
    show.result(f"version {silver.version}: [bold]{_silver(lake):,}[/] rows")
    show.python(f"silver.restore({good})")
    report = silver.restore(good)
    show.result(
        f"version {report.version}: [bold]{_silver(lake):,}[/] rows again, "
        f"{report.seconds * 1000:.0f} ms; no data was copied"
    )


def disk(lake: Lake, show: Show, *, title: str) -> tuple[int, int]:
    """Show the lake's folders below ``title``, and return how many files and bytes there are."""
    found = list(open_storage(lake.uri).list())
    live = {
        info.uri.removeprefix(f"{lake.uri}/"): lake.table(info.name).detail().files
        for info in lake.tables()
    }
    by_folder: dict[str, list[StoredObject]] = defaultdict(list)
    for item in found:
        parts = PurePosixPath(item.path).parts
        by_folder["/".join(parts[: 1 if parts[0] == "_catalog" else 2])].append(item)
    root = Tree(Text(title, style="bold"), guide_style="dim")
    branches: dict[str, Tree] = {}
    for folder, items in sorted(by_folder.items(), key=lambda pair: _order(lake, pair[0])):
        layer, _, name = folder.partition("/")
        if not name:
            root.add(_line(layer, f"the catalog: {len(items)} documents", items))
            continue
        if layer not in branches:
            branches[layer] = root.add(Text(layer, style="bold"))
        data = [item for item in items if "/_delta_log/" not in item.path]
        commits = sum(item.path.endswith(".json") for item in items)
        text = f"{_many(len(data))}, {commits} commits"
        if live.get(folder, len(data)) != len(data):
            text = f"{_many(len(data))} ({live[folder]} live), {commits} commits"
        branch = branches[layer].add(_line(name, text, data))
        if folder.startswith("silver/"):
            _partitions(branch, data, folder)
    show.tree(root)
    return len(found), sum(item.size for item in found)


def _partitions(branch: Tree, data: list[StoredObject], folder: str) -> None:
    first = min(data, key=lambda item: item.path)
    month, name = first.path.removeprefix(f"{folder}/").split("/")
    branch.add(Text("_delta_log/00000000000000000000.json ...", style="dim"))
    branch.add(Text(f"{month}/{name[:20]}...parquet", style="dim"))
    branch.add(Text("... and so on, a folder a month", style="dim"))


def _line(name: str, text: str, items: list[StoredObject]) -> Text:
    volume = f"{sum(item.size for item in items) / 1000:,.0f} kB"
    return Text.assemble((f"{name}  ", "default"), (f"{text}, {volume}", "dim"))


def _many(count: int) -> str:
    return f"{count} file{'s' if count != 1 else ''}"


def _order(lake: Lake, folder: str) -> tuple[int, str]:
    layers = ["_catalog", *lake.layers()]
    layer = folder.partition("/")[0]
    return (layers.index(layer) if layer in layers else len(layers), folder)


def _why(scan: TableScan) -> str:
    if scan.files_kept == scan.files_total:
        return "nothing to skip"
    if scan.predicate and "max(" in scan.predicate:
        return "min/max in log"
    return "partition"


def _count(lake: Lake, query: str) -> int:
    return int(lake.sql(query).fetchall()[0][0])


def _silver(lake: Lake) -> int:
    return _count(lake, "SELECT count(*) FROM silver.flights")
