"""One lake for every test, on each backend in turn: the tests do not know which."""

import uuid
from collections.abc import Callable, Iterator

import pytest

import lakehouse
from lakehouse.testing import places
from lakehouse.testing.servers import Server
from tests.behaviour.place import BY_OBSTORE, Place, backends, by_extension


@pytest.fixture(scope="session")
def bucket(server) -> Callable[[str], tuple[Server, str]]:
    """Give a server and a bucket there; every test has a prefix of its own in it."""
    made: dict[str, tuple[Server, str]] = {}

    def get(name: str) -> tuple[Server, str]:
        if name not in made:
            store = server(name)
            made[name] = store, store.bucket()
        return made[name]

    return get


@pytest.fixture(params=backends())
def place(request, bucket, tmp_path) -> Place:
    backend = request.param
    own = f"a test/{uuid.uuid4().hex[:12]}"
    if backend == "disk":
        return Place(backend, places.Place(str(tmp_path)))
    if backend == "memory":
        return Place(backend, places.Place(f"memory://behaviour/{own}"))
    store, uri = bucket("minio" if backend == BY_OBSTORE else backend)
    reader = {"reader": "duckdb"} if by_extension(backend) else {}
    return Place(backend, places.Place(f"{uri}/{own}", {**store.options(), **reader}))


@pytest.fixture
def lake(place) -> Iterator[lakehouse.Lake]:
    with place.connect() as lake:
        yield lake


@pytest.fixture
def other(place, lake) -> Iterator[lakehouse.Lake]:
    """Open the lake once more, as another program would."""
    with place.connect(create=False) as other:
        yield other
