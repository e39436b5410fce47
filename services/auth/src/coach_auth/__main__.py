"""`python -m coach_auth serve | migrate | revision MESSAGE`."""

import sys

from coach_auth.app import build
from coach_auth.config import DistributedAuthSettings
from coach_auth.tables import METADATA
from coach_common.cli import service_command

main = service_command("auth", DistributedAuthSettings, build, METADATA)

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
