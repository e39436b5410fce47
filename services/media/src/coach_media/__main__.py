"""`python -m coach_media serve | migrate | revision MESSAGE`."""

import sys

from coach_common.cli import service_command
from coach_media.app import build
from coach_media.config import DistributedMediaSettings
from coach_media.tables import METADATA

main = service_command("media", DistributedMediaSettings, build, METADATA)

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
