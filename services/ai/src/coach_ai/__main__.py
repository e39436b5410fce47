"""`python -m coach_ai serve | migrate | questions recount`."""

from coach_ai.app import build
from coach_ai.config import AiSettings, DistributedAiSettings
from coach_ai.use_cases.interview_notes import rebuild_counts
from coach_common.cli import Subcommand, admin_command, service_command

questions = admin_command(
    "ai questions",
    "ai",
    AiSettings,
    build,
    {"recount": Subcommand(rebuild_counts)},
    summary="Repair the stored counts of questions.",
    example="recount",
)
main = service_command(
    "ai",
    DistributedAiSettings,
    build,
    summary="Run the ai service, migrate its database, and repair the counts of questions.",
    has_tables=True,
    extra_commands={"questions": questions},
)

if __name__ == "__main__":
    raise SystemExit(main())
