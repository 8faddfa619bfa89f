"""Name a running object store, and make buckets in it.

obstore cannot make buckets. On S3 the `minio` SDK does; on Azure it is one signed request.
"""

import base64
import contextlib
import dataclasses
import hmac
import http.client
import io
import secrets
from collections.abc import Iterator
from email.utils import formatdate
from typing import Literal
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException

from catalog.errors import StorageError

_PATIENCE = 10.0
_AZURE_VERSION = "2021-08-06"
_UNSENT = "\n" * 12


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Name an object store that runs, and what opens it.

    On S3 ``account`` is the access key; on Azure the endpoint ends with it.
    """

    name: str
    kind: Literal["s3", "azure"]
    endpoint: str
    account: str
    secret: str = dataclasses.field(repr=False)
    region: str = "us-east-1"

    def bucket(self) -> str:
        """Make a bucket (on Azure a container) with a name of its own; return its URI.

        Raises StorageError.
        """
        name = f"lake-{secrets.token_hex(6)}"
        if self.kind == "azure":
            self._azure_put(name)
            return f"az://{name}"
        with self._s3(name) as client:
            client.make_bucket(name)
        return f"s3://{name}"

    def options(self) -> dict[str, str]:
        """Return the options with which `lakehouse.connect` opens a lake in a bucket of it."""
        if self.kind == "azure":
            return {
                "endpoint_url": self.endpoint,
                "account_name": self.account,
                "account_key": self.secret,
            }
        return {
            "endpoint_url": self.endpoint,
            "access_key_id": self.account,
            "secret_access_key": self.secret,
            "region": self.region,
        }

    def probe(self) -> None:
        """Make a bucket and, on S3, an object: what a server that is not ready yet refuses.

        Raises StorageError.
        """
        bucket = self.bucket().partition("://")[2]
        if self.kind == "s3":
            with self._s3(bucket) as client:
                client.put_object(bucket, "probe", io.BytesIO(b"."), 1)

    @contextlib.contextmanager
    def _s3(self, bucket: str) -> Iterator[Minio]:
        client = Minio(
            urlsplit(self.endpoint).netloc,
            access_key=self.account,
            secret_key=self.secret,
            secure=self.endpoint.startswith("https:"),
            region=self.region,
            http_client=urllib3.PoolManager(timeout=_PATIENCE, retries=False),
        )
        try:
            yield client
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            raise self._refused(bucket, str(error)) from error

    def _azure_put(self, container: str) -> None:
        address = urlsplit(self.endpoint)
        path = f"{address.path}/{container}"
        headers = {
            "x-ms-date": formatdate(usegmt=True),
            "x-ms-version": _AZURE_VERSION,
        }
        # Shared Key: the method, eleven headers that are not sent, those of Azure, the resource.
        named = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
        text = f"PUT{_UNSENT}{named}/{self.account}{path}\nrestype:container"
        key = base64.b64decode(self.secret)
        signature = base64.b64encode(hmac.digest(key, text.encode(), "sha256")).decode()
        headers["Authorization"] = f"SharedKey {self.account}:{signature}"
        connection = http.client.HTTPConnection(address.netloc, timeout=_PATIENCE)
        try:
            connection.request("PUT", f"{path}?restype=container", headers=headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            raise self._refused(container, str(error)) from error
        finally:
            connection.close()
        if status != 201:
            raise self._refused(container, f"HTTP status {status}")

    def _refused(self, bucket: str, why: str) -> StorageError:
        return StorageError(
            f"{self.name} at {self.endpoint} did not make {bucket}: {why}",
            next_step="Look whether it runs, and whether these are its keys",
        )
