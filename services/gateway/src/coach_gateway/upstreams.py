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
from coach_gateway.upstream_connection import UpstreamConnection, UpstreamDisconnected

log = logs.get_logger(__name__)

IN_FLIGHT = Gauge("coach_gateway_upstream_in_flight", "Requests under way.", ["upstream"])
EJECTIONS = Counter("coach_gateway_upstream_ejections", "Replicas left out.", ["upstream"])

_KEEPALIVE_EXPIRY_SECONDS = 4.0
"""Below the 5 s after which uvicorn closes an idle connection, so as not to meet its closing."""
_EJECT_AFTER_FAILURES = 3
_MIN_EJECTION_SECONDS = 1.0
_MAX_EJECTION_SECONDS = 30.0
_DNS_TTL_SECONDS = 5.0


@dataclass(eq=False)
class Replica:
    """One address of an upstream, with its idle connections, the last used last."""

    host: str
    port: int
    idle: list[UpstreamConnection] = field(default_factory=list)
    in_flight: int = 0
    failures: int = 0
    ejected_until: float = 0.0

    def is_ejected(self, now: float) -> bool:
        """Tell whether it is left out at present."""
        return now < self.ejected_until

    def record_success(self) -> None:
        """It answered: whatever was held against it is forgotten."""
        self.failures = 0

    def record_failure(self, *, at_once: bool) -> float:
        """Count a failure; return for how long it is left out, 0 where it stays."""
        self.failures = max(self.failures + 1, _EJECT_AFTER_FAILURES if at_once else 0)
        over = self.failures - _EJECT_AFTER_FAILURES
        if over < 0:
            return 0.0
        duration = min(_MAX_EJECTION_SECONDS, _MIN_EJECTION_SECONDS * (1 << min(over, 8)))
        self.ejected_until = time.monotonic() + duration
        return duration


class Upstream:
    """A service by its URLs: several, or one whose name has several addresses."""

    def __init__(
        self,
        name: str,
        urls: str,
        *,
        max_in_flight: int,
        connect_timeout_seconds: float,
        read_timeout_seconds: float,
    ) -> None:
        self.name = name
        self.host_header = b""
        self._endpoints = [self._parse_endpoint(url) for url in urls.split(",")]
        self._max_in_flight = max_in_flight
        self._connect_timeout_seconds = connect_timeout_seconds
        self._read_timeout_seconds = read_timeout_seconds
        self._replicas: list[Replica] = []
        self._resolved_at = float("-inf")
        self._resolving: asyncio.Task[None] | None = None
        self._in_flight = 0
        self._gauge = IN_FLIGHT.labels(name)
        self._gauge.set_function(lambda: self._in_flight)

    async def acquire(self, exclude: Replica | None = None) -> tuple[Replica, UpstreamConnection]:
        """Return a replica and a connection to it; `refused` only where there is no other.

        A replica that cannot be connected to is passed over: nothing was sent to it yet.
        Raises Unavailable beyond the bound, Lost where nothing could be connected to.
        """
        if self._in_flight >= self._max_in_flight:
            raise Unavailable("The service is busy. Please try again in a moment.")
        self._in_flight += 1
        try:
            replica = await self._select_after_refresh(exclude)
            try:
                connection = self._pop_idle(replica) or await self._connect(replica)
            except UpstreamDisconnected:
                replica = await self._select_after_refresh(replica)
                connection = self._pop_idle(replica) or await self._connect(replica)
        except BaseException:
            self._in_flight -= 1
            raise
        replica.in_flight += 1
        return replica, connection

    def release(self, replica: Replica, connection: UpstreamConnection) -> None:
        """End what `take` began; a connection whose answer is not whole is dropped."""
        self._in_flight -= 1
        replica.in_flight -= 1
        if connection.is_reusable():
            connection.idle_since = time.monotonic()
            replica.idle.append(connection)
        else:
            connection.abort()

    def record_failure(self, replica: Replica, *, at_once: bool = False) -> None:
        """Count a failure against a replica."""
        duration = replica.record_failure(at_once=at_once)
        if duration:
            EJECTIONS.labels(self.name).inc()
            log.warning(
                "upstream.ejected", upstream=self.name, port=replica.port, seconds=round(duration)
            )

    def close(self) -> None:
        """Close every idle connection."""
        if self._resolving is not None:
            self._resolving.cancel()
        for replica in self._replicas:
            for connection in replica.idle:
                connection.abort()

    async def _select_after_refresh(self, exclude: Replica | None) -> Replica:
        now = time.monotonic()
        if now - self._resolved_at > _DNS_TTL_SECONDS:
            await self._refresh(now)
        return self._select(exclude, now)

    def _select(self, exclude: Replica | None, now: float) -> Replica:
        replicas = self._replicas
        if len(replicas) == 1:
            return replicas[0]
        usable = [one for one in replicas if one is not exclude and not one.is_ejected(now)]
        if not usable:
            others = [one for one in replicas if one is not exclude] or replicas
            return min(others, key=lambda one: one.ejected_until)
        return min(usable, key=lambda one: one.in_flight)

    def _pop_idle(self, replica: Replica) -> UpstreamConnection | None:
        since = time.monotonic() - _KEEPALIVE_EXPIRY_SECONDS
        while replica.idle:
            connection = replica.idle.pop()
            if connection.idle_since > since and connection.is_alive():
                return connection
            connection.abort()
        return None

    async def _connect(self, replica: Replica) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                _, connection = await loop.create_connection(
                    lambda: UpstreamConnection(loop, self._read_timeout_seconds),
                    replica.host,
                    replica.port,
                )
        except OSError as error:  # a time-out is one of them
            self.record_failure(replica, at_once=True)
            raise UpstreamDisconnected(f"cannot connect: {type(error).__name__}") from None
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
            raise UpstreamDisconnected("its name has no address")

    async def _resolve(self) -> None:
        known = {(one.host, one.port): one for one in self._replicas}
        found: dict[tuple[str, int], Replica] = {}
        for host, port in self._endpoints:
            for address in await _addresses(host, port):
                key = (address, port)
                found[key] = known.get(key) or Replica(address, port)
        if not found:
            return  # the old addresses are better than none
        for key, replica in known.items():
            if key not in found:
                for connection in replica.idle:
                    connection.abort()
                replica.idle.clear()
        self._replicas = list(found.values())

    def _parse_endpoint(self, url: str) -> tuple[str, int]:
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
