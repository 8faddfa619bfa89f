"""What is imported on first use, and what a first query does without."""

import ast
import importlib
import importlib.util
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType

import pytest

import lakehouse

ROOT = Path(__file__).parents[1]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
PACKAGES = CONTRACTS["root_packages"]
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
HEAVY = {
    "fsspec",
    "numpy",
    "obstore",
    "pandas",
    "polars",
    "pyarrow",
    "pyroaring",
    "sqlglot",
    "deltalake",
}
OF_TABLES = """
import lakehouse
from lakehouse.delta import replay

replay.STORED_FROM = 0  # as on a table of very many files
lake = lakehouse.connect({uri!r})
found = lake.sql({sql!r}).fetchall()
assert found == [(3,)], found
"""


def imported_by(code: str) -> set[str]:
    """Run code in a fresh interpreter; return the modules that are there at its end."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def libraries(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize(
    "where",
    [
        "n = 2",
        "n BETWEEN 2 AND 2 AND day >= DATE '2024-01-02' AND p = 'x'",
        "ts > '2024-01-01 12:00:00+00' AND name = 'it''s'",
    ],
)
def test_a_pruned_first_query_imports_little(tmp_path: Path, where: str) -> None:
    columns = {"n": "BIGINT", "day": "DATE", "ts": "TIMESTAMPTZ", "name": "VARCHAR", "p": "VARCHAR"}
    with lakehouse.connect(tmp_path) as lake:
        table = lake.create_table("bronze.t", columns, partition_by="p")
        for n in (1, 2):
            at = datetime(2024, 1, n, tzinfo=UTC)
            table.append([{"n": n, "day": at.date(), "ts": at, "name": "it's", "p": "wx"[n - 1]}])
        table.checkpoint()
    sql = f"SELECT sum(n + 1)::INTEGER FROM bronze.t WHERE {where}"
    modules = imported_by(OF_TABLES.format(uri=str(tmp_path), sql=sql))
    assert not libraries(modules) & HEAVY
    rooms = ("lakehouse.dml", "lakehouse.write.", "lakehouse.lint", "catalog.storage.remote",
             "lakehouse.lake.running", "lakehouse.lake.statements.parse")  # fmt: skip
    assert not {module for module in modules if module.startswith(rooms)}


@pytest.mark.parametrize("rows", [2, 1500])
def test_appends_and_upserts_need_no_parser_of_sql(tmp_path: Path, rows: int) -> None:
    code = (
        "import lakehouse\n"
        f"lake = lakehouse.connect({str(tmp_path)!r})\n"
        "table = lake.create_table('bronze.t', {'id': 'BIGINT', 'name': 'VARCHAR'})\n"
        f"rows = [{{'id': i * i, 'name': f'n{{i}}'}} for i in range({rows})]\n"
        "table.append(rows[::2])\n"
        f"assert table.upsert(rows, key=['id', 'name']).rows_inserted == {rows // 2}"
    )
    assert "sqlglot" not in libraries(imported_by(code))


def test_the_packages_by_themselves_import_nothing() -> None:
    ours = {"catalog", "catalog.lazy", "lakehouse"}
    modules = imported_by("import lakehouse, catalog")
    assert {module for module in modules if module.startswith(tuple(PACKAGES))} == ours
    assert not libraries(modules) & {*HEAVY, "duckdb"}


def test_help_waits_for_no_library_of_a_command() -> None:
    code = (
        "import contextlib, lakehouse.cli\n"
        "with contextlib.suppress(SystemExit): lakehouse.cli.main(['--help'])"
    )
    assert not libraries(imported_by(code)) & {*HEAVY, "duckdb"}


def on_demand(path: Path) -> dict[str, set[str]]:
    """Return what a package says in ``lazy.names``: the names taken from each module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "lazy.names":
            return {module: set(names) for module, names in ast.literal_eval(node.args[1]).items()}
    return {}


def for_type_checkers(path: Path) -> dict[str, set[str]]:
    """Return what a module imports under TYPE_CHECKING, in the form of `on_demand`."""
    found: dict[str, set[str]] = {}
    for block in ast.parse(path.read_text()).body:
        if not isinstance(block, ast.If) or ast.unparse(block.test) != "TYPE_CHECKING":
            continue
        for node in block.body:
            assert isinstance(node, ast.ImportFrom)
            for name in (alias.name for alias in node.names):
                whole = f"{node.module}.{name}"
                if importlib.util.find_spec(whole) if _is_package(node.module) else None:
                    found.setdefault(whole, set())
                else:
                    found.setdefault(str(node.module), set()).add(name)
    return found


def _is_package(module: str | None) -> bool:
    return hasattr(importlib.import_module(str(module)), "__path__")


LAZY = [path for path in SOURCES if on_demand(path)]


@pytest.mark.parametrize("path", LAZY, ids=lambda path: path.parent.name)
def test_names_on_demand_are_those_that_type_checkers_see(path: Path) -> None:
    assert path.name == "__init__.py"
    assert on_demand(path) == for_type_checkers(path)


@pytest.mark.parametrize("path", LAZY, ids=lambda path: path.parent.name)
def test_names_on_demand_are_there_before_and_after(path: Path) -> None:
    package = importlib.import_module(".".join(path.parent.relative_to(ROOT).parts))
    for module, names in on_demand(path).items():
        home = importlib.import_module(module)
        for name in names:  # a module of the package with this name would hide it, from then on
            assert getattr(package, name) is getattr(home, name)
            assert not isinstance(getattr(package, name), ModuleType)
        if not names:
            assert getattr(package, module.rpartition(".")[2]) is home
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = package.nothing_like_it


def test_type_checkers_see_no_more_than_runs() -> None:
    """TYPE_CHECKING is for names on demand, and would hide a cycle anywhere else."""
    others = [
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if for_type_checkers(path) and not on_demand(path)
    ]
    assert others == ["lakehouse/table/second_opinion.py"]


def libraries_on_demand() -> list[tuple[str, str]]:
    return [
        (".".join(path.relative_to(ROOT).with_suffix("").parts), ast.literal_eval(node.args[0]))
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "lazy.module"
    ]


@pytest.mark.parametrize(("module", "library"), libraries_on_demand())
def test_contracts_hold_for_libraries_on_demand(module: str, library: str) -> None:
    """import-linter does not see these; our own modules must be imported where it does."""
    root = library.partition(".")[0]
    assert root not in PACKAGES
    for contract in CONTRACTS["contracts"]:
        if root in contract.get("forbidden_modules", ()):
            allowed = (rule.replace("**", "*") for rule in contract["ignore_imports"])
            assert any(fnmatchcase(f"{module} -> {root}", rule) for rule in allowed), contract["id"]
