"""`python -m coach_auth serve | migrate | revision MESSAGE | keys …`, and `coach users …`."""

import sys

from coach_auth import operators
from coach_auth.app import build
from coach_auth.config import AuthSettings, DistributedAuthSettings
from coach_auth.tables import METADATA
from coach_common.cli import operator_command, service_command

keys = operator_command("auth keys", AuthSettings, build, operators.KEYS)
users = operator_command("users", AuthSettings, build, operators.USERS)
main = service_command("auth", DistributedAuthSettings, build, METADATA, more={"keys": keys})

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
