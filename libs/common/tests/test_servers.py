"""Private servers of a test run do not disturb each other."""

import shutil
from pathlib import Path

import pytest

from coach_common.testing.servers import PrivateMariaDB


@pytest.mark.servers
def test_starting_server_keeps_temporary_tables_of_others(mariadb: PrivateMariaDB) -> None:
    # A starting MariaDB deletes all its user's files named `#sql…` in its temporary directory.
    # Queries and the installation of another server in the same directory fail then.
    directory = Path(mariadb.execute("SELECT @@tmpdir").strip())
    table = directory / "#sql-temptable-1-2-3.MAI"
    table.touch()
    shutil.chown(table, mariadb.directory.owner())

    with PrivateMariaDB.run():
        assert table.exists()

    table.unlink()
