"""The services behind the gateway: their replicas, which of them works, and how much each gets.

Every upstream has its own connections and its own bound, so a slow one never slows another's
routes. A replica that fails is left out for a while, longer each time, and then tried again; where
all of them fail, the one that has been left out longest is tried, so a return is never missed.
"""

import asyncio
import ipaddress
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from prometheus_client import Counter, Gauge

from coach_common import logs
from coach_common.config import SettingsError
from coach_common.errors import Unavailable
from coach_gateway.connection import Connection, Lost

log = logs.get_logger(__name__)

IN_FLIGHT = Gauge("coach_gateway_upstream_requests", "Requests under way.", ["upstream"])
EJECTIONS = Counter("coach_gateway_upstream_ejections", "Replicas left out.", ["upstream"])

_KEPT_SECONDS = 4.0
"""Below the 5 s after which uvicorn closes an idle connection, so as not to meet its closing."""
_FAILURES = 3
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_RESOLVED_SECONDS = 5.0


@dataclass(eq=False)
class Replica:
    """One address of an upstream, with its idle connections, the last used last."""

    host: str
    port: int
    idle: list[Connection] = field(default_factory=list)
    in_flight: int = 0
    failures: int = 0
    out_until: float = 0.0

    def is_out(self, now: float) -> bool:
        """Tell whether it is left out at present."""
        return now < self.out_until

    def succeeded(self) -> None:
        """It answered: whatever was held against it is forgotten."""
        self.failures = 0

    def failed(self, *, at_once: bool) -> float:
        """Count a failure; return for how long it is left out, 0 where it stays."""
        self.failures = max(self.failures + 1, _FAILURES if at_once else 0)
        over = self.failures - _FAILURES
        if over < 0:
            return 0.0
        pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * (1 << min(over, 8)))
        self.out_until = time.monotonic() + pause
        return pause


class Upstream:
    """A service by its URLs: several, or one whose name has several addresses."""

    def __init__(
        self,
        name: str,
        urls: str,
        *,
        in_flight: int,
        connect_seconds: float,
        read_seconds: float,
    ) -> None:
        self.name = name
        self.host_header = b""
        self._origins = [self._origin(url) for url in urls.split(",")]
        self._bound = in_flight
        self._connect_seconds = connect_seconds
        self._read_seconds = read_seconds
        self._replicas: list[Replica] = []
        self._resolved_at = float("-inf")
        self._resolving: asyncio.Task[None] | None = None
        self._under_way = 0
        self._gauge = IN_FLIGHT.labels(name)
        self._gauge.set_function(lambda: self._under_way)

    async def take(self, refused: Replica | None = None) -> tuple[Replica, Connection]:
        """Return a replica and a connection to it; `refused` only where there is no other.

        A replica that cannot be connected to is passed over: nothing was sent to it yet.
        Raises Unavailable beyond the bound, Lost where nothing could be connected to.
        """
        if self._under_way >= self._bound:
            raise Unavailable("A part of the service is busy. Please try again.")
        self._under_way += 1
        try:
            replica = await self._choose(refused)
            try:
                connection = self._idle(replica) or await self._connect(replica)
            except Lost:
                replica = await self._choose(replica)
                connection = self._idle(replica) or await self._connect(replica)
        except BaseException:
            self._under_way -= 1
            raise
        replica.in_flight += 1
        return replica, connection

    def take_now(self) -> tuple[Replica, Connection] | None:
        """Like `take`, where that has to wait for nothing; None where it would, or would raise."""
        now = time.monotonic()
        if self._under_way >= self._bound or now - self._resolved_at > _RESOLVED_SECONDS:
            return None
        replica = self._pick(None, now)
        connection = self._idle(replica)
        if connection is None:
            return None
        self._under_way += 1
        replica.in_flight += 1
        return replica, connection

    def give_back(self, replica: Replica, connection: Connection) -> None:
        """End what `take` began; a connection whose answer is not whole is dropped."""
        self._under_way -= 1
        replica.in_flight -= 1
        if connection.is_reusable():
            connection.idle_since = time.monotonic()
            replica.idle.append(connection)
        else:
            connection.drop()

    def failed(self, replica: Replica, *, at_once: bool = False) -> None:
        """Count a failure against a replica."""
        pause = replica.failed(at_once=at_once)
        if pause:
            EJECTIONS.labels(self.name).inc()
            log.warning(
                "upstream.left_out", upstream=self.name, port=replica.port, seconds=round(pause)
            )

    def close(self) -> None:
        """Close every idle connection."""
        if self._resolving is not None:
            self._resolving.cancel()
        for replica in self._replicas:
            for connection in replica.idle:
                connection.drop()

    async def _choose(self, refused: Replica | None) -> Replica:
        now = time.monotonic()
        if now - self._resolved_at > _RESOLVED_SECONDS:
            await self._refresh(now)
        return self._pick(refused, now)

    def _pick(self, refused: Replica | None, now: float) -> Replica:
        replicas = self._replicas
        if len(replicas) == 1:
            return replicas[0]
        usable = [one for one in replicas if one is not refused and not one.is_out(now)]
        if not usable:
            others = [one for one in replicas if one is not refused] or replicas
            return min(others, key=lambda one: one.out_until)
        return min(usable, key=lambda one: one.in_flight)

    def _idle(self, replica: Replica) -> Connection | None:
        since = time.monotonic() - _KEPT_SECONDS
        while replica.idle:
            connection = replica.idle.pop()
            if connection.idle_since > since and connection.is_alive():
                return connection
            connection.drop()
        return None

    async def _connect(self, replica: Replica) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_seconds):
                _, connection = await loop.create_connection(
                    lambda: Connection(loop, self._read_seconds), replica.host, replica.port
                )
        except OSError as error:  # a time-out is one of them
            self.failed(replica, at_once=True)
            raise Lost(f"cannot connect: {type(error).__name__}") from None
        return connection

    async def _refresh(self, now: float) -> None:
        """Look the names up again: at first before anything else, later beside the requests."""
        if self._resolving is None or self._resolving.done():
            self._resolved_at = now
            self._resolving = asyncio.create_task(self._resolve())
        if not self._replicas:
            await asyncio.shield(self._resolving)
        if not self._replicas:
            self._resolved_at = float("-inf")
            raise Lost("its name has no address")

    async def _resolve(self) -> None:
        known = {(one.host, one.port): one for one in self._replicas}
        found: dict[tuple[str, int], Replica] = {}
        for host, port in self._origins:
            for address in await _addresses(host, port):
                key = (address, port)
                found[key] = known.get(key) or Replica(address, port)
        if not found:
            return  # the old addresses are better than none
        for key, replica in known.items():
            if key not in found:
                for connection in replica.idle:
                    connection.drop()
                replica.idle.clear()
        self._replicas = list(found.values())

    def _origin(self, url: str) -> tuple[str, int]:
        parts = urlsplit(url.strip())
        if parts.scheme != "http" or not parts.hostname:
            raise SettingsError(f"setting {self.name.upper()}_URL: http://host:port is needed")
        port = parts.port or 80
        self.host_header = self.host_header or f"{parts.hostname}:{port}".encode()
        return parts.hostname, port


async def _addresses(host: str, port: int) -> Sequence[str]:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return [host]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)
    except OSError:
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
