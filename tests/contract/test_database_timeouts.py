"""A database that accepts connections or statements and sends nothing counts as unavailable."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from chaos.proxy import Proxy
from sqlalchemy import text
from sqlalchemy.engine import make_url

from coach_common.db import database as database_module
from coach_common.db.database import Database
from coach_common.errors import DatabaseUnavailable
from coach_common.http.app import create_app
from coach_common.testing.servers import PrivateMariaDB

SHORT_TIMEOUT_SECONDS = 0.3
REQUESTS = 20


@pytest.fixture
async def silent_port() -> AsyncIterator[int]:
    """The port of a server that accepts connections and sends nothing."""
    connections: list[asyncio.StreamWriter] = []

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for writer in connections:
        writer.transport.abort()


async def _read(database: Database) -> object:
    async with database.read_only() as tx:
        return await tx.scalar(text("SELECT 7"))


async def test_requests_get_503_and_readiness_names_a_silent_database(silent_port: int) -> None:
    database = Database(
        f"mysql://user:secret@127.0.0.1:{silent_port}/coach",
        source="test",
        pool_size=2,
        pool_overflow=0,
        timeout_seconds=SHORT_TIMEOUT_SECONDS,
    )
    app = create_app("test", checks={"database": database.check})

    @app.get("/value")
    async def value() -> object:
        return await _read(database)

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        async with asyncio.timeout(60):
            responses = await asyncio.gather(*(client.get("/value") for _ in range(REQUESTS)))
        ready = await client.get("/health/ready")
    await database.close()

    assert [response.status_code for response in responses] == [503] * REQUESTS
    assert all("retry-after" in response.headers for response in responses)
    assert ready.status_code == 503
    assert "database" in ready.json()["missing"]


@pytest.mark.servers
async def test_work_goes_on_when_a_silent_database_responds_again(mariadb: PrivateMariaDB) -> None:
    with mariadb.database() as url:
        address = make_url(url)
        assert address.host is not None
        assert address.port is not None
        async with Proxy("database", address.host, address.port).run() as proxy:
            database = Database(
                address.set(host="127.0.0.1", port=proxy.port).render_as_string(
                    hide_password=False
                ),
                source="test",
                timeout_seconds=SHORT_TIMEOUT_SECONDS,
            )
            await _read_until_available(database)

            proxy.hold()
            async with asyncio.timeout(60):
                with pytest.raises(DatabaseUnavailable):
                    await _read(database)
                with pytest.raises(DatabaseUnavailable):
                    async with database.transaction() as tx:
                        await tx.execute(text("SELECT 1"))
            proxy.heal()

            await _read_until_available(database)
            await database.close()


@pytest.mark.servers
async def test_statement_above_the_limit_ends_and_frees_its_connection(
    mariadb: PrivateMariaDB,
) -> None:
    with mariadb.database() as url:
        database = Database(
            url,
            source="test",
            pool_size=1,
            pool_overflow=0,
            timeout_seconds=SHORT_TIMEOUT_SECONDS,
        )
        await _read_until_available(database)
        async with asyncio.timeout(60):
            with pytest.raises(DatabaseUnavailable):
                async with database.transaction() as tx:
                    await tx.scalar(text("SELECT SLEEP(600)"))

        await _read_until_available(database)
        await database.close()


async def _read_until_available(database: Database) -> None:
    """Read until it succeeds: a short limit may end even a read that the machine delays."""
    async with asyncio.timeout(60):
        while True:
            try:
                assert await _read(database) == 7
            except DatabaseUnavailable:
                continue
            return


@pytest.mark.servers
async def test_idle_connection_that_the_server_closed_is_replaced(
    mariadb: PrivateMariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mariadb.database() as url:
        database = Database(url, source="test", pool_size=1, pool_overflow=0)
        await _read(database)
        mariadb.execute(f"KILL USER {make_url(url).username}")
        monkeypatch.setattr(database_module, "_MAX_UNCHECKED_SECONDS", 0.0)

        await _read(database)
        await database.close()


@pytest.mark.servers
async def test_transaction_that_fails_leaves_no_change_to_the_next(
    mariadb: PrivateMariaDB,
) -> None:
    with mariadb.database() as url:
        database = Database(url, source="test", pool_size=1, pool_overflow=0)
        async with database.transaction() as tx:
            await tx.execute(text("CREATE TABLE notes (id INT PRIMARY KEY)"))
        with pytest.raises(RuntimeError):
            async with database.transaction() as tx:
                await tx.execute(text("INSERT INTO notes VALUES (1)"))
                raise RuntimeError

        async with database.transaction() as tx:
            await tx.execute(text("INSERT INTO notes VALUES (2)"))
        async with database.read_only() as tx:
            rows = await tx.fetch_all(text("SELECT id FROM notes"))
        await database.close()

    assert [row["id"] for row in rows] == [2]
