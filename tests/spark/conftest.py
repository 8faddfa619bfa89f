"""One Spark session for all tests here; without pyspark (`make test`) they are not collected."""

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest

import lakehouse
from tests.spark.start import NotStartedError, start

HAS_SPARK = importlib.util.find_spec("pyspark") is not None
collect_ignore_glob = [] if HAS_SPARK else ["test_*.py"]


def pytest_collection_modifyitems(items) -> None:
    # py4j leaves sockets to the garbage collector.
    for item in items:
        if "spark" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"))


@pytest.fixture(scope="session")
def spark(tmp_path_factory) -> Iterator[Any]:
    try:
        session = start(tmp_path_factory.mktemp("spark"))
    except NotStartedError as error:
        pytest.fail(str(error), pytrace=False)
    yield session
    session.stop()


@pytest.fixture
def lake(tmp_path) -> Iterator[lakehouse.Lake]:
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        yield lake
