"""The program itself: help, exit codes, errors, plugins, completion."""

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest
import typer

import lakehouse
from lakehouse.cli import failures, interrupt, program
from tests.cli.conftest import Run


def test_help_names_every_command_and_the_exit_codes(run: Run) -> None:
    outcome = run("--help")
    assert outcome.code == 0
    for name, (_, heading, text) in program.COMMANDS.items():
        assert f" {name} " in outcome.out
        assert heading in outcome.out
        assert text in outcome.out
    assert "Exit codes: 0 all went well" in outcome.out


@pytest.mark.parametrize("name", program.COMMANDS)
def test_every_command_has_help_lake_and_json(run: Run, name: str) -> None:
    outcome = run(name, "--help")
    assert outcome.code == 0
    assert "--lake" in outcome.out
    assert "--json" in outcome.out
    # The demo makes a lake of its own; it must not get into that of the environment.
    assert ("LAKEHOUSE_URI" in outcome.out) == (name != "demo")


def test_no_arguments_show_the_help(run: Run) -> None:
    outcome = run()
    assert "Usage: lakehouse" in outcome.out + outcome.err


def test_version(run: Run) -> None:
    assert run("--version").out.startswith("lakehouse-storage ")


def test_every_error_class_has_an_exit_code() -> None:
    public = [getattr(lakehouse, name) for name in lakehouse.__all__]
    errors = {value for value in public if isinstance(value, type)}
    wanted = {kind for kind in errors if issubclass(kind, lakehouse.LakehouseError)}
    codes = {kind.__name__: failures.exit_code(kind("x")) for kind in wanted}
    assert codes == {
        "AlreadyExistsError": 2,
        "ConflictError": 4,
        "CorruptionError": 6,
        "DataError": 2,
        "InputError": 2,
        "LakehouseError": 1,
        "NotFoundError": 3,
        "OutcomeUnknownError": 4,
        "StorageError": 5,
        "UnsupportedError": 7,
    }


def test_exit_codes_are_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    documented = {line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")}
    codes = {str(code) for _, code, _ in failures.CODES}
    special = {failures.USAGE, interrupt.EXIT_CODE, failures.PIPE_CLOSED}
    assert codes | {str(code) for code in special} <= documented


def test_a_command_is_documented(run: Run) -> None:
    text = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    assert [name for name in program.COMMANDS if f"`{name}" not in text] == []


def test_an_unknown_command_has_near_misses(run: Run) -> None:
    outcome = run("histroy")
    assert outcome.code == 2
    assert "Did you mean 'history'" in outcome.err


def test_an_unknown_table_has_near_misses(run: Run, lake: Path) -> None:
    outcome = run("show", "silver.flight")
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err == "Error: No table silver.flight\n       Did you mean silver.flights?\n"


def test_errors_are_json_on_request(run: Run, lake: Path) -> None:
    outcome = run("show", "silver.flight", "--json")
    assert outcome.code == 3
    assert outcome.error == {
        "type": "NotFoundError",
        "message": "no table silver.flight",
        "next_step": "Did you mean silver.flights?",
        "near": ["silver.flights"],
    }


@pytest.mark.parametrize("args", [["show"], ["shwo"], ["ls", "--nope"], ["history", "a.b", "-n0"]])
def test_usage_errors_are_json_too(run: Run, args: list[str]) -> None:
    outcome = run(*args, "--json")
    assert outcome.code == 2
    assert outcome.error["type"] == "UsageError"
    assert "--help" in outcome.error["next_step"]


def test_json_after_two_dashes_is_no_option(run: Run) -> None:
    assert run("show", "--", "--json").err.startswith("Error: ")


class TestLake:
    def test_none_is_named(self, run: Run) -> None:
        outcome = run("ls", "--json")
        assert outcome.code == 2
        assert "--lake" in outcome.error["next_step"]
        assert "LAKEHOUSE_URI" in outcome.error["next_step"]

    def test_the_folder_lake_is_found(self, run: Run, lake: Path) -> None:
        assert run("ls", "--names").out == "silver.flights\n"

    def test_environment(
        self, run: Run, lake: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        monkeypatch.setenv("LAKEHOUSE_URI", str(lake))
        assert run("ls", "--names").out == "silver.flights\n"
        assert run("ls", "--lake", str(tmp_path / "nope")).code == 3

    def test_only_init_creates_it(self, run: Run, tmp_path: Path) -> None:
        assert run("ls", "-l", "other").code == 3
        assert not (tmp_path / "other").exists()
        made = run("init", "other", "--layers", "raw, clean", "--json").json
        assert (made["created"], made["layers"]) == (True, ["raw", "clean"])
        assert run("init", "other", "--json").json["created"] is False
        assert run("ls", "-l", "other").err.startswith("No tables in ")


def test_interrupt(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lakehouse, "connect", interrupt)
    outcome = run("init")
    assert (outcome.code, outcome.err) == (130, "Interrupted.\n")


class TestPlugins:
    @pytest.fixture(autouse=True)
    def plugins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def points(*, group: str) -> list[EntryPoint]:
            return [
                EntryPoint("extra", "tests.cli.test_program:extra", group),
                EntryPoint("broken", "tests.cli.no_such_module:app", group),
                EntryPoint("wrong", "tests.cli.test_program:Path", group),
                EntryPoint("ls", "tests.cli.test_program:extra", group),
            ]

        monkeypatch.setattr(program, "entry_points", points)

    def test_help_lists_them(self, run: Run) -> None:
        outcome = run("--help")
        assert "Other packages" in outcome.out
        assert " extra " in outcome.out

    def test_its_command_runs(self, run: Run) -> None:
        assert run("extra", "greet", "Ada").out == "hello Ada\n"

    def test_its_errors_are_ours(self, run: Run) -> None:
        assert run("extra", "fail", "--json").error["type"] == "StorageError"

    def test_ours_go_first(self, run: Run, lake: Path) -> None:
        assert run("ls", "--names").out == "silver.flights\n"

    @pytest.mark.parametrize(("name", "word"), [("broken", "ModuleNotFoundError"), ("wrong", "no")])
    def test_a_broken_one_is_reported(self, run: Run, lake: Path, name: str, word: str) -> None:
        outcome = run(name, "--json")
        assert outcome.code == 1
        assert word in outcome.error["message"]
        assert run("ls").code == 0
        findings = {f["about"]: f["status"] for f in run("doctor", "--json").json["findings"]}
        assert findings["command extra"] == "ok"
        assert findings[f"command {name}"] == "bad"


extra = typer.Typer()


@extra.command()
def greet(name: str) -> None:
    typer.echo(f"hello {name}")


@extra.command()
def fail(json: bool = False) -> None:
    raise lakehouse.StorageError("the disk is full")


def test_no_plugin_shadows_a_command_of_ours() -> None:
    assert not {point.name for point in entry_points(group=program.GROUP)} & set(program.COMMANDS)


def complete(run: Run, monkeypatch: pytest.MonkeyPatch, words: str) -> list[str]:
    with monkeypatch.context() as patch:
        patch.setenv("_LAKEHOUSE_COMPLETE", "complete_bash")
        patch.setenv("COMP_WORDS", words)
        patch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
        outcome = run()
    assert outcome.code == 0
    assert outcome.err == ""
    return outcome.out.split()


class TestCompletion:
    def test_commands(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        assert complete(run, monkeypatch, "lakehouse s") == ["show", "sql", "snapshots"]

    def test_tables(self, run: Run, lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for command in ("show", "history", "restore", "drop", "rename", "load", "doctor"):
            words = f"lakehouse {command} silver.f"
            assert complete(run, monkeypatch, words) == ["silver.flights"]

    def test_layers(self, run: Run, lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert complete(run, monkeypatch, "lakehouse ls s") == ["silver"]

    def test_the_lake_option_is_respected(
        self, run: Run, lake: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run("init", "other")
        run("create", "gold.days", "-c", "day DATE", "-l", "other")
        assert complete(run, monkeypatch, "lakehouse show --lake other ") == ["gold.days"]

    @pytest.mark.parametrize("words", ["show ", "show --lake /nope ", "show -l bad:// "])
    def test_it_never_fails(self, run: Run, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
        assert complete(run, monkeypatch, f"lakehouse {words}") == []

    def test_a_damaged_catalog_is_no_noise(
        self, run: Run, lake: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for path in (lake / "_catalog").rglob("*.json*"):
            path.write_text("{")
        assert complete(run, monkeypatch, "lakehouse show ") == []
        assert run("ls").code == 6
