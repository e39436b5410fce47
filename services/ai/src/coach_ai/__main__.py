"""`python -m coach_ai serve | migrate | questions recount | interviews republish`."""

from coach_ai.app import build
from coach_ai.config import DistributedAiSettings
from coach_ai.use_cases.interview_history import schedule_all
from coach_ai.use_cases.interview_notes import rebuild_counts
from coach_common.cli import Subcommand, database_command, service_command

questions = database_command(
    "ai questions",
    "ai",
    {"recount": Subcommand(rebuild_counts)},
    summary="Repair the stored counts of questions.",
    example="recount",
)
interviews = database_command(
    "ai interviews",
    "ai",
    {"republish": Subcommand(schedule_all)},
    summary="Repair the history of interviews in sessions.",
    example="republish",
)
main = service_command(
    "ai",
    DistributedAiSettings,
    build,
    summary="Run the ai service, migrate its database, and repair counts and history.",
    has_tables=True,
    extra_commands={"questions": questions, "interviews": interviews},
)

if __name__ == "__main__":
    raise SystemExit(main())
