from collections.abc import Iterator

import pytest

import lakehouse


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Iterator[lakehouse.Lake]:
    with lakehouse.connect(tmp_path_factory.mktemp("lake"), durable=False) as lake:
        yield lake
