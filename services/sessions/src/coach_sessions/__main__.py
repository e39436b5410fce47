"""`python -m coach_sessions serve | migrate | progress rebuild`."""

from coach_common.cli import Subcommand, admin_command, service_command
from coach_sessions.app import build
from coach_sessions.config import DistributedSessionsSettings, SessionsSettings
from coach_sessions.progress_use_cases import rebuild_progress

progress = admin_command(
    "sessions progress",
    "sessions",
    SessionsSettings,
    build,
    {"rebuild": Subcommand(rebuild_progress)},
    summary="Repair the stored progress of the users.",
    example="rebuild",
)
main = service_command(
    "sessions",
    DistributedSessionsSettings,
    build,
    summary="Run the sessions service, migrate its database, and repair stored progress.",
    has_tables=True,
    extra_commands={"progress": progress},
)

if __name__ == "__main__":
    raise SystemExit(main())
