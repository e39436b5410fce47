"""`python -m coach_sessions serve | migrate | progress rebuild`."""

import sys

from coach_common.cli import Subcommand, admin_command, service_command
from coach_sessions.app import build
from coach_sessions.config import DistributedSessionsSettings, SessionsSettings
from coach_sessions.progress_use_cases import rebuild_progress

progress = admin_command(
    "sessions progress", SessionsSettings, build, {"rebuild": Subcommand(rebuild_progress)}
)
main = service_command(
    "sessions",
    DistributedSessionsSettings,
    build,
    has_tables=True,
    extra_commands={"progress": progress},
)

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
