"""`python -m coach_embedded.migration SERVICE MESSAGE FOLDER`: a revision from the difference."""

import asyncio
import sys
from collections.abc import Sequence
from importlib import import_module

from coach_common.db import migrate
from coach_common.db.database import Database

_SERVICES = ("auth", "sessions", "media", "ai")


async def write_revision(service: str, message: str, folder: str) -> None:
    """Bring a scratch database to the newest revision, and write the one that is missing."""
    package = f"coach_{service}"
    database = Database(f"sqlite:///{folder}/scratch.db", source=service)
    await migrate.upgrade(database, package)
    metadata = import_module(f"{package}.tables").METADATA
    await migrate.create_revision(database, package, metadata, message)
    await database.close()


def main(argv: Sequence[str]) -> int:
    """Run it."""
    if len(argv) != 3 or argv[0] not in _SERVICES or not argv[1]:
        print(f"usage: make migration SERVICE={{{','.join(_SERVICES)}}} MESSAGE=…", file=sys.stderr)
        return 2
    asyncio.run(write_revision(*argv))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
