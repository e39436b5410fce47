"""`python -m coach_media serve | migrate`."""

from coach_common.cli import service_command
from coach_media.app import build
from coach_media.config import DistributedMediaSettings

main = service_command(
    "media",
    DistributedMediaSettings,
    build,
    summary="Run the media service, and migrate its database.",
    has_tables=True,
)

if __name__ == "__main__":
    raise SystemExit(main())
