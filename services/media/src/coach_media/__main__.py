"""`python -m coach_media serve | migrate`."""

import sys

from coach_common.cli import service_command
from coach_media.app import build
from coach_media.config import DistributedMediaSettings

main = service_command("media", DistributedMediaSettings, build, has_tables=True)

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
