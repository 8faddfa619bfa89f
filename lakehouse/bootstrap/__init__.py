"""Set up a server for a lake: the bucket, and users who may do no more than they need.

Needs the extra `s3` (the MinIO SDK); nothing else of the package does.
"""

from lakehouse.bootstrap.policy import ROLES, Role, policy, policy_name
from lakehouse.bootstrap.server import Bootstrapped, Server, User, bootstrap
from lakehouse.bootstrap.users import Account, Keys, accounts, profiles

__all__ = [
    "ROLES",
    "Account",
    "Bootstrapped",
    "Keys",
    "Role",
    "Server",
    "User",
    "accounts",
    "bootstrap",
    "policy",
    "policy_name",
    "profiles",
]
