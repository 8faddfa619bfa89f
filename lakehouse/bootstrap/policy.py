"""What writers and readers of a lake may do: policies in the language of S3. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final, Literal

Role = Literal["writer", "reader"]
ROLES: Final[tuple[Role, ...]] = ("writer", "reader")

_OBJECTS: Final[dict[Role, tuple[str, ...]]] = {
    "reader": ("s3:GetObject",),
    "writer": (
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:ListMultipartUploadParts",
        "s3:PutObject",
    ),
}


def policy(role: Role, *, bucket: str, prefix: str = "") -> dict[str, Any]:
    """Return the least that a role needs, on the objects below one prefix of one bucket.

    Listing is allowed below the prefix only: with it, a server says 404 for a file that is
    missing, and 403 without.

    >>> [
    ...     statement["Action"]
    ...     for statement in policy("reader", bucket="b", prefix="lake")["Statement"]
    ... ]
    [['s3:GetObject'], ['s3:ListBucket'], ['s3:GetBucketLocation']]
    >>> policy("reader", bucket="b", prefix="lake")["Statement"][0]["Resource"]
    ['arn:aws:s3:::b/lake/*']
    """
    arn = f"arn:aws:s3:::{bucket}"
    listing = _allow("s3:ListBucket", on=arn)
    if prefix:
        listing["Condition"] = {"StringLike": {"s3:prefix": [prefix, f"{prefix}/*"]}}
    return {
        "Version": "2012-10-17",
        "Statement": [
            _allow(*_OBJECTS[role], on=f"{arn}/{prefix}/*" if prefix else f"{arn}/*"),
            listing,
            _allow("s3:GetBucketLocation", on=arn),
        ],
    }


def policy_name(role: Role, *, bucket: str, prefix: str = "") -> str:
    """Return a name for people that no other lake of the server has.

    >>> policy_name("writer", bucket="data", prefix="team/lake")
    'data-team-lake-fc375f-writer'
    """
    place = f"{bucket}/{prefix}"
    readable = re.sub(r"[^a-z0-9]+", "-", place.lower()).strip("-")[:40]
    # `a-b/c` and `a/b-c` read alike.
    return f"{readable}-{hashlib.sha256(place.encode()).hexdigest()[:6]}-{role}"


def _allow(*actions: str, on: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": [on]}
