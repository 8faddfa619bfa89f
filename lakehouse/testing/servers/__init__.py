"""Start real object stores on this machine: MinIO, SeaweedFS, moto and Azurite, for tests.

s3rver and rclone are here as well: they take no notice of `If-None-Match`, and so must be refused.
It needs the extra `s3`, and a system that has `fcntl` (Linux, macOS).
"""

from lakehouse.testing.servers.kinds import NAMES
from lakehouse.testing.servers.programs import NotInstalledError
from lakehouse.testing.servers.server import Server
from lakehouse.testing.servers.start import azurite, minio, moto, rclone, s3rver, seaweedfs, start

__all__ = [
    "NAMES",
    "NotInstalledError",
    "Server",
    "azurite",
    "minio",
    "moto",
    "rclone",
    "s3rver",
    "seaweedfs",
    "start",
]
