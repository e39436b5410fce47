"""Connections to `/internal/live` of ai."""

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.frames import CloseCode

from coach_common import logs
from coach_common.errors import Unavailable
from coach_gateway.upstream_connection import UpstreamError
from coach_gateway.upstreams import Replica, Upstream

log = logs.get_logger(__name__)

_OPEN_TIMEOUT_SECONDS = 5.0
_CLOSE_TIMEOUT_SECONDS = 2.0
_MAX_MESSAGE_BYTES = 1024 * 1024


class LiveUnavailable(Unavailable):
    """No replica of ai accepts live audio."""

    code = "live_unavailable"

    def __init__(self) -> None:
        super().__init__("Live transcription is unavailable. Please try again.")


class LiveConnectionLost(Exception):
    """The connection to ai broke. The audio that ai did not receive is sent again."""


class LiveServiceStopped(Exception):
    """ai shuts down. It stores the audio that it has, so nothing may be sent again."""


class LiveConnection:
    """One WebSocket to ai.

    Every method raises LiveConnectionLost if it broke. `receive` raises LiveServiceStopped if ai
    shuts down.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send_json(self, **message: Any) -> None:
        """Send a message."""
        await self._send(json.dumps(message))

    async def send_audio(self, content: bytes) -> None:
        """Send audio."""
        await self._send(content)

    async def receive(self) -> dict[str, Any]:
        """Return the next message."""
        try:
            message: dict[str, Any] = json.loads(await self._socket.recv())
        except ConnectionClosed as error:
            if error.rcvd is not None and error.rcvd.code == CloseCode.SERVICE_RESTART:
                raise LiveServiceStopped from error
            raise LiveConnectionLost(type(error).__name__) from error
        return message

    async def _send(self, content: str | bytes) -> None:
        try:
            await self._socket.send(content)
        except ConnectionClosed as error:
            raise LiveConnectionLost(type(error).__name__) from error


class LiveAudioClient:
    """Chooses a replica of ai for a recording and opens connections to it.

    A recording prefers the same replica each time, because that replica has the audio received so
    far. The choice is by rendezvous hashing of the key, so all gateways agree without coordination.
    Ejected replicas come last.
    """

    def __init__(self, upstream: Upstream, service_token: str) -> None:
        self._upstream = upstream
        self._headers = {"authorization": f"Bearer {service_token}"}

    @asynccontextmanager
    async def connect(self, key: str) -> AsyncIterator[LiveConnection]:
        """Open a connection for the recording `key` and close it when the block ends.

        Raises:
            LiveUnavailable: If no replica accepts the connection.
        """
        socket = await self._open(key)
        try:
            yield LiveConnection(socket)
        finally:
            await socket.close()

    async def _open(self, key: str) -> ClientConnection:
        for replica in await self._list_candidates(key):
            try:
                socket = await connect(
                    "ws://ai/internal/live",
                    host=replica.host,
                    port=replica.port,
                    additional_headers=self._headers,
                    proxy=None,
                    open_timeout=_OPEN_TIMEOUT_SECONDS,
                    close_timeout=_CLOSE_TIMEOUT_SECONDS,
                    max_size=_MAX_MESSAGE_BYTES,
                    compression=None,
                )
            except (OSError, WebSocketException) as error:
                self._upstream.record_failure(replica, at_once=isinstance(error, OSError))
                log.warning(
                    "live_audio.connect_failed", port=replica.port, reason=type(error).__name__
                )
            else:
                self._upstream.record_success(replica)
                return socket
        raise LiveUnavailable

    async def _list_candidates(self, key: str) -> Sequence[Replica]:
        try:
            replicas = await self._upstream.list_replicas()
        except UpstreamError:
            raise LiveUnavailable from None
        return sorted(replicas, key=lambda one: (one.is_ejected, _rank(key, one)))


def _rank(key: str, replica: Replica) -> bytes:
    return hashlib.sha256(f"{key} {replica.host}:{replica.port}".encode()).digest()
