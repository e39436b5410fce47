"""`python -m coach_ai serve | migrate`."""

from coach_ai.app import build
from coach_ai.config import DistributedAiSettings
from coach_common.cli import service_command

main = service_command(
    "ai",
    DistributedAiSettings,
    build,
    summary="Run the ai service, and migrate its database.",
    has_tables=True,
)

if __name__ == "__main__":
    raise SystemExit(main())
