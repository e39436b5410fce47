"""`python -m coach_sessions serve | migrate | revision MESSAGE`."""

import sys

from coach_common.cli import service_command
from coach_sessions.app import build
from coach_sessions.config import DistributedSessionsSettings
from coach_sessions.tables import METADATA

main = service_command("sessions", DistributedSessionsSettings, build, METADATA)

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
