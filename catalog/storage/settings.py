"""From a user's options and the environment to one value that every consumer is set up from.

Pure: the environment and the shared files of the AWS tools are arguments. obstore, deltalake and
DuckDB have names of their own for the same things; they meet here and nowhere else.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args
from urllib.parse import unquote, urlsplit

from catalog.errors import InputError
from catalog.storage.location import Location
from catalog.storage.network import Network, network_of
from catalog.storage.options import Options
from catalog.storage.profiles import Profile

Reader = Literal["obstore", "duckdb"]
Provider = Callable[[], Mapping[str, Any]]

_PREFIXES = re.compile(r"^(aws|azure_storage|azure|google|gcs)_", re.IGNORECASE)
# What people call it elsewhere, by what obstore calls it.
_ALIASES = {
    "s3": {
        "endpoint_url": "endpoint", "region_name": "region", "token": "session_token",
        "default_region": "region", "key_id": "access_key_id", "secret": "secret_access_key",
        "anonymous": "skip_signature", "endpoint_url_s3": "endpoint",
    },
    "az": {
        "endpoint_url": "endpoint", "sas_token": "sas_key", "anonymous": "skip_signature",
        "account": "account_name", "key": "account_key",
    },
    "gs": {
        "endpoint_url": "base_url", "endpoint": "base_url", "anonymous": "skip_signature",
        "service_account_path": "service_account",
    },
}  # fmt: skip
_ENVIRONMENT: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "s3": {
        "access_key_id": ("AWS_ACCESS_KEY_ID",),
        "secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
        "session_token": ("AWS_SESSION_TOKEN",),
        "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
        "endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        "skip_signature": ("AWS_SKIP_SIGNATURE",),
        "virtual_hosted_style_request": ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST",),
    },
    "az": {
        "connection_string": ("AZURE_STORAGE_CONNECTION_STRING",),
        "account_name": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"),
        "account_key": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY"),
        "sas_key": ("AZURE_STORAGE_SAS_TOKEN",),
    },
    "gs": {
        "service_account": ("GOOGLE_SERVICE_ACCOUNT",),
        "application_credentials": ("GOOGLE_APPLICATION_CREDENTIALS",),
    },
}
# What libraries would look for in the environment, which is asked here and nowhere else.
UNSAID: Mapping[str, Mapping[str, Any]] = {
    "s3": {"skip_signature": False, "virtual_hosted_style_request": False},
    "az": {"skip_signature": False, "use_emulator": False},
    "gs": {"skip_signature": False},
}
# Names that say who is asking: where one of them is given, others are not looked for elsewhere.
_IDENTITY = frozenset(
    (
        "access_key_id", "secret_access_key", "session_token", "skip_signature", "account_key",
        "sas_key", "service_account", "service_account_key", "application_credentials",
        "client_secret", "bearer_token", "connection_string", "use_emulator",
    )
)  # fmt: skip
# Whatever is not known to be harmless is taken for a secret and kept out of messages.
_HARMLESS = (
    "region", "endpoint", "bucket", "container_name", "account_name", "allow_http", "base_url",
    "ca_file", "profile", "reader", "endpoint_url", "service_account", "application_credentials",
)  # fmt: skip


_NETWORK = tuple(Network.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Settings:
    """Hold all that it takes to reach one bucket or container; it never shows its values.

    ``config`` has obstore's names. ``credentials`` is asked for keys whenever the last ones run
    out. ``reader`` says who fetches data files for DuckDB: obstore, or its own extension.
    """

    location: Location
    config: Options
    network: Network = field(default_factory=Network)
    credentials: Provider | None = field(default=None, repr=False)
    reader: Reader = "obstore"
    client: Options = field(default_factory=lambda: Options({}))
    retry: Options = field(default_factory=lambda: Options({}))

    @property
    def family(self) -> str:
        """Return the provider: ``s3``, ``az`` or ``gs``."""
        return _family(self.location.scheme)

    @property
    def endpoint(self) -> str:
        """Return the address of the store, without anything that could be a key."""
        found = urlsplit(str(self.config.get("endpoint") or self.config.get("base_url") or ""))
        if not found.hostname:
            names = {"s3": "AWS S3", "az": "Azure Blob Storage", "gs": "Google Cloud Storage"}
            return names[self.family]
        return f"{found.scheme}://{found.netloc.rpartition('@')[2]}{found.path}".rstrip("/")

    def secrets(self) -> frozenset[str]:
        """Return the values that no message may hold."""
        found = {
            value
            for name, value in self.config.items()
            if isinstance(value, str) and name not in _HARMLESS
        }
        proxy = urlsplit(self.network.proxy_url or "")
        return frozenset(found | {proxy.password or "", unquote(proxy.password or "")} - {""})

    def current(self) -> dict[str, Any]:
        """Return the configuration with the keys that are valid now."""
        found = dict(self.config)
        if self.credentials is not None:
            asked: Mapping[str, Any] = self.credentials()
            keys = {k: v for k, v in asked.items() if v is not None}
            keys.pop("expires_at", None)
            if self.family == "s3" and "token" in keys:
                keys["session_token"] = keys.pop("token")
            if self.family == "az" and "access_key" in keys:
                keys["account_key"] = keys.pop("access_key")
            found |= keys
        return found

    def deltalake(self) -> dict[str, str]:
        """Return the options that deltalake takes."""
        prefix = {"s3": "aws_", "az": "azure_storage_", "gs": "google_"}[self.family]
        # It looks into the environment for what is not said, and would mix it in.
        config = {**UNSAID[self.family], **self.current()}
        if "access_key_id" in config:
            config.setdefault("session_token", "")
        found = {_deltalake_name(prefix, k): _text(v) for k, v in config.items()}
        found["timeout"] = f"{self.network.timeout:g}s"
        found["connect_timeout"] = f"{self.network.connect_timeout:g}s"
        if self.network.allow_http:
            found["allow_http"] = "true"
        if self.network.proxy_url:
            found["proxy_url"] = self.network.proxy_url
        return found


def settings_of(
    location: Location,
    options: Mapping[str, Any],
    *,
    environ: Mapping[str, str] = MappingProxyType({}),
    profile: Callable[[str | None], Profile | None] = lambda _: None,
) -> Settings:
    """Return the settings for a place; what the user says wins over what the environment says.

    ``profile`` looks up a profile of the AWS tools by name (None: the default one).

    >>> from catalog.storage.location import parse
    >>> env = {"AWS_ENDPOINT_URL": "http://localhost:9000", "AWS_REGION": "us-east-1"}
    >>> found = settings_of(parse("s3://lake"), {"region": "eu-west-1"}, environ=env)
    >>> sorted(found.config), found.network.allow_http
    (['endpoint', 'region'], True)
    """
    family = _family(location.scheme)
    given = dict(options)
    reader = given.pop("reader", "obstore")
    if reader not in get_args(Reader):
        raise InputError(
            f"reader {reader!r} is not known", next_step=f"Use one of {', '.join(get_args(Reader))}"
        )
    client, retry = given.pop("client_options", None), given.pop("retry_config", None)
    provider = given.pop("credentials", None) or given.pop("credential_provider", None)
    named = given.pop("profile", None)
    network = {name: given.pop(name) for name in _NETWORK if given.get(name) is not None}
    config = _told(family, _renamed(family, given))
    has_identity = provider is not None or not _IDENTITY.isdisjoint(config)
    around = _around(family, environ)
    if has_identity or named:
        around = {name: value for name, value in around.items() if name not in _IDENTITY}
    config = {**around, **config}
    if family == "s3":
        has_identity = has_identity or not _IDENTITY.isdisjoint(around)
        found = profile(named) if named or not has_identity else None
        if found is not None:
            config = {**found.config, **config}
            provider = provider or found.provider
            network.setdefault("ca_file", found.ca_file)
        if environ.get("AWS_CA_BUNDLE"):
            network.setdefault("ca_file", environ["AWS_CA_BUNDLE"])
        _require_both(config)
        _require_endpoint(config, environ)
    endpoint = str(config.get("endpoint") or config.get("base_url") or "")
    if "@" in urlsplit(endpoint).netloc:
        raise InputError(
            "the endpoint holds a user or a password", next_step="Pass keys by their own options"
        )
    network.setdefault("allow_http", endpoint.startswith("http://"))
    return Settings(
        location=location,
        config=Options(config),
        network=network_of(network),
        credentials=provider,
        reader=reader,
        client=_mapping(location, "client_options", client),
        retry=_mapping(location, "retry_config", retry),
    )


def _mapping(location: Location, name: str, value: object) -> Options:
    if value is None or isinstance(value, Mapping):
        return Options(value or {})
    raise InputError(
        f"cannot open {location.uri}: {name} is no dict",
        next_step="Its keys are obstore's",
    )


def _family(scheme: str) -> str:
    return {"abfss": "az"}.get(scheme, scheme)


def _renamed(family: str, options: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in options.items():
        plain = _PREFIXES.sub("", name).lower()
        plain = _ALIASES[family].get(plain, plain)
        if plain in found:
            raise InputError(
                f"{plain} is given twice, once as {name}", next_step="Leave one of them out"
            )
        if value is not None:
            found[plain] = value
    return found


def _told(family: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration in obstore's words, out of one in people's."""
    found = dict(config)
    if family == "s3" and "path_style" in found:
        found["virtual_hosted_style_request"] = not found.pop("path_style")
    if family == "az" and "connection_string" in found:
        found = {**_connection_string(str(found.pop("connection_string"))), **found}
    return found


def _around(family: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what the environment says."""
    found = {}
    for name, variables in _ENVIRONMENT[family].items():
        value = next((environ[v] for v in variables if environ.get(v)), None)
        if value is not None:
            found[name] = value
    if "secret_access_key" not in found and "access_key_id" not in found:
        found.pop("session_token", None)  # It belongs to keys that are not here.
    return _told(family, found)


def _require_both(config: Mapping[str, Any]) -> None:
    one, other = "access_key_id", "secret_access_key"
    if (one in config) != (other in config):
        here, missing = (one, other) if one in config else (other, one)
        raise InputError(
            f"{here} is given without {missing}",
            next_step="Pass both, or set both in the environment or the profile",
        )


def _require_endpoint(config: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Refuse what the S3 library would decide in favour of the environment."""
    name = "AWS_ENDPOINT_URL_S3"
    if environ.get(name) and environ[name].rstrip("/") != str(config["endpoint"]).rstrip("/"):
        raise InputError(
            f"{name} in the environment names another endpoint than endpoint_url",
            next_step=f"Unset {name}, or leave endpoint_url out",
        )


def _connection_string(text: str) -> dict[str, Any]:
    """Return the parts of an Azure connection string that say where and who."""
    parts = dict(part.strip().split("=", 1) for part in text.split(";") if "=" in part)
    names = {
        "AccountName": "account_name", "AccountKey": "account_key",
        "BlobEndpoint": "endpoint", "SharedAccessSignature": "sas_key",
    }  # fmt: skip
    found: dict[str, Any] = {
        ours: parts[theirs] for theirs, ours in names.items() if parts.get(theirs)
    }
    if parts.get("UseDevelopmentStorage", "").lower() == "true":
        found["use_emulator"] = True
    if not found:
        raise InputError(
            "the connection string names neither an account nor an endpoint",
            next_step="Copy it from the storage account's access keys",
        )
    if "endpoint" not in found and "EndpointSuffix" in parts and "account_name" in found:
        scheme = parts.get("DefaultEndpointsProtocol", "https")
        found["endpoint"] = f"{scheme}://{found['account_name']}.blob.{parts['EndpointSuffix']}"
    return found


def _deltalake_name(prefix: str, name: str) -> str:
    known = {"endpoint": "endpoint", "skip_signature": "skip_signature", "base_url": "base_url"}
    return prefix + known.get(name, name)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
