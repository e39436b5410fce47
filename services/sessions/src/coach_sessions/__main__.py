"""`python -m coach_sessions serve | migrate`."""

import sys

from coach_common.cli import service_command
from coach_sessions.app import build
from coach_sessions.config import DistributedSessionsSettings

main = service_command("sessions", DistributedSessionsSettings, build, has_tables=True)

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
