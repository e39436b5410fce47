"""Database migrations with Alembic, run from code.

`alembic/env.py` is the environment; the revisions of a service are in
`coach_<service>/migrations`. Production, the embedded profile and the tests call `upgrade`.
"""

import re
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, MetaData

from coach_common.db.database import Database
from coach_common.errors import Unavailable

_LOCK_SECONDS = 60


def _config(package: str, connection: Connection, metadata: MetaData | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "alembic"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(files(package) / "migrations"))
    config.set_main_option("file_template", "%%(rev)s")
    config.attributes.update(connection=connection, metadata=metadata)
    return config


async def upgrade(
    database: Database,
    package: str,
    *,
    revision: str = "head",
    lock_seconds: float = _LOCK_SECONDS,
) -> None:
    """Migrate the tables to a revision. Replicas that start together take turns.

    Raises:
        Unavailable: If another replica migrates for longer than `lock_seconds`.
    """
    name = f"migrate {package}"

    def run(connection: Connection) -> None:
        is_mysql = connection.dialect.name == "mysql"
        if is_mysql:
            lock = connection.exec_driver_sql("SELECT GET_LOCK(%s, %s)", (name, lock_seconds))
            if lock.scalar() != 1:
                raise Unavailable("Another replica is migrating this database.")
        try:
            command.upgrade(_config(package, connection), revision)
            connection.commit()
        finally:
            if is_mysql:
                # The lock belongs to the connection, which returns to the pool.
                connection.exec_driver_sql("SELECT RELEASE_LOCK(%s)", (name,))

    async with database.engine.connect() as connection:
        await connection.run_sync(run)


async def schema_differences(database: Database, package: str, metadata: MetaData) -> list[object]:
    """Return the differences between the tables and `metadata`; empty if they match."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    def run(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        return list(compare_metadata(context, metadata))

    async with database.engine.connect() as connection:
        return await connection.run_sync(run)


async def create_revision(
    database: Database, package: str, metadata: MetaData, message: str
) -> None:
    """Write a new revision, named by date and message, from the differences to `metadata`."""
    slug = re.sub(r"[^a-z0-9]+", "_", message.lower()).strip("_")
    name = f"{datetime.now(UTC):%Y_%m_%d}_{slug}"

    def run(connection: Connection) -> None:
        config = _config(package, connection, metadata)
        command.revision(config, message=message, autogenerate=True, head="head", rev_id=name)

    async with database.engine.connect() as connection:
        await connection.run_sync(run)
