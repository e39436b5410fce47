"""`python -m coach_ai serve | migrate`."""

import sys

from coach_ai.app import build
from coach_ai.config import DistributedAiSettings
from coach_common.cli import service_command

main = service_command("ai", DistributedAiSettings, build, has_tables=True)

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
