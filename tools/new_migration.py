"""Write a migration from the difference between a service's tables and its newest revision.

Usage: `python tools/new_migration.py SERVICE MESSAGE`. Uses a temporary SQLite database.
"""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module

from coach_common.db import migrate
from coach_common.db.database import Database

_SERVICES = ("auth", "sessions", "media", "ai")


async def write_revision(service: str, message: str, directory: str) -> None:
    """Upgrade a new database in `directory` and write the revision that is missing."""
    package = f"coach_{service}"
    database = Database(f"sqlite:///{directory}/scratch.db", source=service)
    await migrate.upgrade(database, package)
    metadata = import_module(f"{package}.tables").METADATA
    await migrate.create_revision(database, package, metadata, message)
    await database.close()


def main(args: Sequence[str]) -> int:
    """Write the migration."""
    if len(args) != 2 or args[0] not in _SERVICES or not args[1]:
        print(f"usage: make migration SERVICE={{{','.join(_SERVICES)}}} MESSAGE=…", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(write_revision(args[0], args[1], directory))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
