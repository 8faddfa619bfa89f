"""Let DuckDB reach object storage: by its own extension, or by a file system of ours.

Source: DuckDB documentation, "S3 API Support", "Azure Extension", "Secrets Manager", "fsspec
Filesystems".
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import duckdb

from catalog import storage as storages
from catalog.errors import InputError
from catalog.storage import Storage
from catalog.storage.settings import Settings
from lakehouse.duck.sql import identifier, literal

Way = Literal["disk", "duckdb", "obstore"]
_EXTENSIONS = {"s3": "httpfs", "az": "azure"}
_SCHEMES = {"s3": ("s3",), "az": ("az", "abfss"), "gs": ("gs",), "memory": ("memory",)}


def way(settings: Settings, *, has_extension: bool) -> Literal["duckdb", "obstore"]:
    """Tell who fetches data files: obstore, or DuckDB's extension where that was chosen. Pure.

    Raises InputError where the user chose what cannot be.
    """
    if settings.reader == "obstore":
        return "obstore"
    family = settings.family
    extension = _EXTENSIONS.get(family)
    keys = settings.config.keys()
    known = bool(keys & {"access_key_id", "account_key", "skip_signature"})
    problem = next_step = ""
    if extension is None:
        problem = f"DuckDB has no extension for {family}://"
    elif not has_extension:
        problem = f"DuckDB's extension {extension} is not installed"
        next_step = f"Install it (pip install duckdb-extension-{extension}=={duckdb.__version__})"
    elif settings.credentials is not None:
        problem = f"DuckDB's extension {extension} cannot ask your function for keys"
    elif "@" in (settings.network.proxy_url or ""):
        problem = "DuckDB would show the proxy's password in its settings"
    elif not known:
        problem = f"DuckDB's extension {extension} needs keys, and none were given"
    if problem:
        raise InputError(
            f"reader='duckdb' is not possible: {problem}",
            next_step=f"{next_step}, or leave reader out" if next_step else "Leave reader out",
        )
    return "duckdb"


class Reach:
    """Prepare one DuckDB instance for the storages that it will open; safe between threads.

    ``root`` is used under ``lock`` only.
    """

    def __init__(
        self, root: duckdb.DuckDBPyConnection, lock: contextlib.AbstractContextManager[Any]
    ) -> None:
        self._root = root
        self._lock = lock
        self._ways: dict[str, Way] = {}
        self._files: dict[str, storages.filesystem.StorageFileSystem] = {}
        self._options: dict[str, Mapping[str, Any]] = {}
        self._secrets: set[str] = set()

    @property
    def is_remote(self) -> bool:
        """Tell whether some storage is not on local disk."""
        return bool(self._ways)

    def mount(self, storage: Storage) -> Way:
        """Let DuckDB open the files below a storage's folder; return how it will."""
        if storage.is_local:
            return "disk"
        with self._lock:
            family = "memory" if storage.settings is None else storage.settings.family
            chosen = self._ways.get(family)
            if chosen is None:
                chosen = self._ways[family] = self._begin(family, storage)
            if chosen == "duckdb":
                self._keep_secret(storage)
            else:
                self._files[family].mount(storage)
            return chosen

    def read_ahead(self, files: Iterable[tuple[str, int | None]]) -> None:
        """Begin to fetch files that a query is going to read, by URL and size in bytes."""
        by_family: dict[str, list[tuple[str, int | None]]] = {}
        for url, size in files:
            scheme = url.partition("://")[0]
            by_family.setdefault({"abfss": "az"}.get(scheme, scheme), []).append((url, size))
        for family, ahead in by_family.items():
            if family in self._files:
                self._files[family].read_ahead(ahead)

    def close(self) -> None:
        """Stop what runs ahead."""
        for files in self._files.values():
            files.close()

    def _begin(self, family: str, storage: Storage) -> Way:
        settings = storage.settings
        self._options[family] = storage.options
        if settings is not None:
            extension = find_extension(self._root, family)
            if way(settings, has_extension=extension is not None) == "duckdb":
                assert extension is not None
                self._root.execute(f"LOAD {extension}")
                self._set_up(settings)
                return "duckdb"
        files = storages.filesystem.StorageFileSystem(storage.elsewhere, schemes=_SCHEMES[family])
        self._root.register_filesystem(files)
        self._files[family] = files
        return "obstore"

    def _set_up(self, settings: Settings) -> None:
        network = settings.network
        if settings.family == "s3":
            # httpfs takes keys from the environment, and duckdb_settings() would show them.
            for name in ("s3_access_key_id", "s3_secret_access_key", "s3_session_token"):
                self._root.execute(f"SET GLOBAL {name} = ''")
            self._root.execute(f"SET GLOBAL http_timeout = {max(1, round(network.timeout))}")
            self._root.execute(f"SET GLOBAL http_retries = {network.retries}")
            if network.ca_file:
                self._root.execute(f"SET GLOBAL ca_cert_file = {literal(network.ca_file)}")
        if network.proxy_url:
            self._root.execute(f"SET GLOBAL http_proxy = {literal(network.proxy_url)}")

    def _keep_secret(self, storage: Storage) -> None:
        settings = storage.settings
        assert settings is not None
        location = settings.location
        name = f"lakehouse_{hashlib.sha256(location.host.encode()).hexdigest()[:16]}"
        if name in self._secrets:
            return
        fields = _SECRETS[settings.family](settings)
        fields["SCOPE"] = literal(f"{location.scheme}://{location.host}")
        listed = ", ".join(f"{key} {value}" for key, value in fields.items())
        try:
            self._root.execute(f"CREATE OR REPLACE SECRET {identifier(name)} ({listed})")
        except duckdb.Error as error:
            # Its text may repeat the statement, keys and all.
            raise InputError(
                f"DuckDB does not take the credentials for {location.uri}: {type(error).__name__}",
                next_step="Check the options, or pass reader='obstore'",
            ) from None
        self._secrets.add(name)


def find_extension(root: duckdb.DuckDBPyConnection, family: str) -> str | None:
    """Return what LOAD takes for a provider's extension, or None where it is not installed.

    It may be installed by DuckDB (``INSTALL httpfs``) or as a wheel of this very version; it is
    never fetched.
    """
    name = _EXTENSIONS.get(family)
    if name is None:
        return None
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    places = (spec and spec.submodule_search_locations) or []
    for place in places:
        for path in Path(place).rglob(f"{name}.duckdb_extension"):
            if f"v{duckdb.__version__}" in path.parts:
                return literal(str(path))
    row = root.execute(
        "SELECT installed FROM duckdb_extensions() WHERE extension_name = ?", [name]
    ).fetchone()
    return name if row and row[0] else None


def _s3_secret(settings: Settings) -> dict[str, str]:
    config = settings.config
    fields = {"TYPE": "s3"}
    names = {
        "KEY_ID": "access_key_id", "SECRET": "secret_access_key", "SESSION_TOKEN": "session_token",
        "REGION": "region",
    }  # fmt: skip
    for theirs, ours in names.items():
        if config.get(ours):
            fields[theirs] = literal(str(config[ours]))
    endpoint = config.get("endpoint")
    if endpoint:
        parts = urlsplit(str(endpoint))
        fields["ENDPOINT"] = literal(f"{parts.netloc}{parts.path.rstrip('/')}")
        fields["USE_SSL"] = "false" if parts.scheme == "http" else "true"
    virtual = bool(config.get("virtual_hosted_style_request", not endpoint))
    fields["URL_STYLE"] = "'vhost'" if virtual else "'path'"
    return fields


def _azure_secret(settings: Settings) -> dict[str, str]:
    config = settings.config
    parts = {
        "AccountName": config.get("account_name"),
        "AccountKey": config.get("account_key"),
        "BlobEndpoint": config.get("endpoint"),
        "SharedAccessSignature": config.get("sas_key"),
    }
    text = ";".join(f"{name}={value}" for name, value in parts.items() if value)
    if "endpoint" not in config:
        text += ";EndpointSuffix=core.windows.net"
    text += ";DefaultEndpointsProtocol=" + ("http" if settings.network.allow_http else "https")
    return {"TYPE": "azure", "CONNECTION_STRING": literal(text)}


_SECRETS = {"s3": _s3_secret, "az": _azure_secret}
