"""The replicas of an upstream: names, selection, connection pools, ejection and bounds.

Each upstream has its own connections and bounds, so a slow one does not slow the others. Replicas
are probed twice per second if there are several. A replica that fails is ejected until a probe
succeeds; the requests it holds fail with ReplicaEjected, so that safe ones move to another.
"""

import asyncio
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from prometheus_client import Counter, Gauge

from coach_common import logs
from coach_common.config import SettingsError
from coach_common.errors import Unavailable
from coach_gateway.upstream_connection import (
    ConnectFailed,
    ConnectionClosed,
    NotResolved,
    UpstreamConnection,
    UpstreamError,
)

log = logs.get_logger(__name__)

IN_FLIGHT = Gauge("coach_gateway_upstream_in_flight", "Requests in flight.", ["upstream"])
EJECTIONS = Counter("coach_gateway_upstream_ejections", "Ejected replicas.", ["upstream"])

OWN_SLOTS = 16
"""Requests of the gateway itself, beside those of clients."""
_KEEPALIVE_EXPIRY_SECONDS = 60.0
"""Below the 75 s after which the services close an idle connection."""
_EJECT_AFTER_FAILURES = 3
_PROBE_INTERVAL_SECONDS = 0.5
_PROBE_TIMEOUT_SECONDS = 1.0
_DNS_TTL_SECONDS = 5.0
_PROBE = b"GET /health/live HTTP/1.1\r\nhost: %b\r\n\r\n"


class ReplicaEjected(ConnectionClosed):
    """The replica was ejected while it held the request."""


@dataclass(eq=False)
class Replica:
    """One address of an upstream and its connections. The last used idle one is last."""

    host: str
    port: int
    idle: list[UpstreamConnection] = field(default_factory=list)
    active: set[UpstreamConnection] = field(default_factory=set)
    in_flight: int = 0
    """Requests that wait for a connection or have one."""
    failures: int = 0
    is_ejected: bool = False

    def pop_idle(self) -> UpstreamConnection | None:
        """Return an idle connection that may be used, or None."""
        while self.idle:
            connection = self.idle.pop()
            oldest = asyncio.get_running_loop().time() - _KEEPALIVE_EXPIRY_SECONDS
            if connection.idle_since > oldest and connection.is_usable():
                return connection
            connection.abort(ConnectionClosed("the idle connection expired"))
        return None

    def put_back(self, connection: UpstreamConnection) -> None:
        """End a request. Keeps its connection if the response is complete."""
        if connection.release():
            self.idle.append(connection)

    def close(self) -> None:
        """Close the idle connections."""
        for connection in self.idle:
            connection.abort(ConnectionClosed("the pool was closed"))
        self.idle.clear()


class Upstream:
    """A service: several URLs, or one whose name has several addresses."""

    def __init__(
        self, name: str, urls: str, *, max_in_flight: int, connect_timeout_seconds: float
    ) -> None:
        self.name = name
        self.host_header = b""
        self.replicas: list[Replica] = []
        self._endpoints = [self._parse_endpoint(url) for url in urls.split(",")]
        self._max_in_flight = max_in_flight
        self._connect_timeout_seconds = connect_timeout_seconds
        self._in_flight = {False: 0, True: 0}
        """By whether the request is the gateway's own."""
        self._turn = 0
        self._resolving: asyncio.Task[None] | None = None
        IN_FLIGHT.labels(name).set_function(lambda: sum(self._in_flight.values()))
        if all(_is_ip_address(host) for host, _ in self._endpoints):
            self.replicas = [Replica(host, port) for host, port in self._endpoints]

    # --- slots and connections

    def take_slot(self, *, is_own: bool) -> None:
        """Count a request. Raises Unavailable if the upstream has no free slot."""
        if self._in_flight[is_own] >= (OWN_SLOTS if is_own else self._max_in_flight):
            raise Unavailable("The service is busy. Please try again in a moment.")
        self._in_flight[is_own] += 1

    def free_slot(self, *, is_own: bool) -> None:
        """End what `take_slot` counted."""
        self._in_flight[is_own] -= 1

    async def connect(self, excluded: set[Replica]) -> tuple[Replica, UpstreamConnection]:
        """Return a replica and a connection to it, avoiding `excluded` if possible.

        A replica that cannot be connected to is ejected and added to `excluded`.

        Raises:
            NotResolved: If the name has no address.
            ConnectFailed: If no replica could be connected to.
        """
        if not self.replicas:
            await self._resolve_now()
        while True:
            replica = self._select(excluded)
            replica.in_flight += 1
            try:
                connection = replica.pop_idle() or await self._open(replica)
            except BaseException as error:
                replica.in_flight -= 1
                if not isinstance(error, ConnectFailed):
                    raise
                self.record_failure(replica, at_once=True)
                excluded.add(replica)
                if not self.has_other(excluded):
                    raise
            else:
                replica.active.add(connection)
                return replica, connection

    def release(self, replica: Replica, connection: UpstreamConnection) -> None:
        """Return a connection to the pool, or close it if its response is incomplete."""
        replica.in_flight -= 1
        replica.active.discard(connection)
        replica.put_back(connection)

    async def list_replicas(self) -> Sequence[Replica]:
        """Return the replicas. Raises NotResolved if the name has no address."""
        if not self.replicas:
            await self._resolve_now()
        return self.replicas

    def has_other(self, excluded: set[Replica]) -> bool:
        """Return whether there is a replica outside `excluded`."""
        return any(replica not in excluded for replica in self.replicas)

    def _select(self, excluded: set[Replica]) -> Replica:
        """Return the usable replica with the fewest requests. Ties rotate."""
        replicas = self.replicas
        if len(replicas) == 1:
            return replicas[0]
        self._turn = (self._turn + 1) % len(replicas)
        rotated = replicas[self._turn :] + replicas[: self._turn]
        others = [one for one in rotated if one not in excluded] or rotated
        usable = [one for one in others if not one.is_ejected] or others
        return min(usable, key=lambda one: one.in_flight)

    async def _open(self, replica: Replica) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                _, connection = await loop.create_connection(
                    lambda: UpstreamConnection(loop), replica.host, replica.port
                )
        except OSError as error:  # TimeoutError is a subclass
            raise ConnectFailed(f"cannot connect: {type(error).__name__}") from None
        return connection

    # --- health

    def record_success(self, replica: Replica) -> None:
        """Forget the failures of a replica that responded, and readmit it."""
        replica.failures = 0
        if replica.is_ejected:
            replica.is_ejected = False
            log.info("upstream.readmitted", upstream=self.name, port=replica.port)

    def record_failure(self, replica: Replica, *, at_once: bool = False) -> None:
        """Count a failure. A replica with too many is ejected, unless it is the only one."""
        replica.failures = max(replica.failures + 1, _EJECT_AFTER_FAILURES if at_once else 0)
        is_due = replica.failures >= _EJECT_AFTER_FAILURES and len(self.replicas) > 1
        if not is_due or replica.is_ejected:
            return
        replica.is_ejected = True
        EJECTIONS.labels(self.name).inc()
        log.warning("upstream.ejected", upstream=self.name, port=replica.port)
        replica.close()
        for connection in list(replica.active):
            connection.eject(ReplicaEjected("the replica was ejected"))

    async def maintain(self) -> None:
        """Resolve the name every 5 s and probe the replicas, until cancelled."""
        probes_per_lookup = round(_DNS_TTL_SECONDS / _PROBE_INTERVAL_SECONDS)
        while True:
            await self._resolve()
            for _ in range(probes_per_lookup):
                if len(self.replicas) > 1:
                    await asyncio.gather(*(self._probe(replica) for replica in self.replicas))
                await asyncio.sleep(_PROBE_INTERVAL_SECONDS)

    async def _probe(self, replica: Replica) -> None:
        connection: UpstreamConnection | None = None
        try:
            connection = replica.pop_idle() or await self._open(replica)
            await connection.send(_PROBE % self.host_header)
            await connection.read_head(_PROBE_TIMEOUT_SECONDS)
            while await connection.read_chunk(_PROBE_TIMEOUT_SECONDS):
                pass
        except UpstreamError as error:
            self.record_failure(replica, at_once=isinstance(error, ConnectFailed))
        else:
            self.record_success(replica)
        finally:
            if connection is not None:
                replica.put_back(connection)

    # --- names

    async def _resolve_now(self) -> None:
        """Wait for a lookup that all requests share. Raises NotResolved."""
        if self._resolving is None or self._resolving.done():
            self._resolving = asyncio.create_task(self._resolve())
        await asyncio.shield(self._resolving)
        if not self.replicas:
            raise NotResolved("the name has no address")

    async def _resolve(self) -> None:
        known = {(one.host, one.port): one for one in self.replicas}
        found: dict[tuple[str, int], Replica] = {}
        for host, port in self._endpoints:
            for address in await _look_up(host, port):
                key = (address, port)
                found[key] = known.get(key) or Replica(address, port)
        if found:  # old addresses are better than none
            for key in known.keys() - found.keys():
                known[key].close()
            self.replicas = list(found.values())

    def _parse_endpoint(self, url: str) -> tuple[str, int]:
        parts = urlsplit(url.strip())
        if parts.scheme != "http" or not parts.hostname:
            raise SettingsError(f"setting {self.name.upper()}_URL: http://host:port is needed")
        port = parts.port or 80
        self.host_header = self.host_header or f"{parts.hostname}:{port}".encode()
        return parts.hostname, port

    def close(self) -> None:
        """Close every idle connection."""
        if self._resolving is not None:
            self._resolving.cancel()
        for replica in self.replicas:
            replica.close()


async def _look_up(host: str, port: int) -> Sequence[str]:
    if _is_ip_address(host):
        return [host]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)
    except OSError:
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
