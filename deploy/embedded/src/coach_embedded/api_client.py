"""Client of the public API, used by the demo, the end-to-end tests and the benchmarks."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import httpx
from websockets.asyncio.client import ClientConnection, connect


class ApiClientError(Exception):
    """The response is not the expected one."""


@dataclass(frozen=True, slots=True)
class ReceivedFrame:
    """A WebSocket frame and when it arrived (`time.perf_counter`)."""

    frame: dict[str, Any]
    received_at: float


@cache
def _tls_context() -> ssl.SSLContext:
    """Return a context that trusts the machine's certificates, or those of SSL_CERT_FILE."""
    return ssl.create_default_context()


class ApiClient:
    """HTTP and WebSocket client of one user."""

    def __init__(self, base_url: str, socket_url: str | None = None) -> None:
        """Create a client. `socket_url` is the gateway for WebSockets if it is another one."""
        self.base_url = base_url
        self._socket_url = socket_url or base_url
        self.token = self.refresh_token = self.user_id = ""
        self._http = httpx.AsyncClient(
            base_url=base_url, timeout=30, trust_env=False, verify=_tls_context()
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def call(
        self, method: str, path: str, *, expect: int | None = 200, **body: Any
    ) -> dict[str, Any]:
        """Call the API as the user and return the JSON body.

        Raises:
            ApiClientError: If the status is not `expect`. None accepts every status.
        """
        response = await self.send(method, path, **({"json": body} if body else {}))
        if expect is not None and response.status_code != expect:
            raise ApiClientError(f"{method} {path}: {response.status_code} {response.text[:300]}")
        return response.json() if response.content else {}

    async def send(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        """Call the API as the user and return the response with any status."""
        authorization = {"authorization": f"Bearer {self.token}"} if self.token else {}
        return await self._http.request(
            method, path, headers={**(headers or {}), **authorization}, **options
        )

    async def register(self, email: str, password: str) -> None:
        """Create an account and store its tokens."""
        signed_in = await self.call(
            "POST", "/auth/register", expect=201, email=email, password=password, name="Demo"
        )
        self.token, self.refresh_token = signed_in["token"], signed_in["refresh_token"]
        self.user_id = signed_in["user"]["id"]

    async def delete_account(self, password: str) -> None:
        """Delete the account and all its data."""
        await self.call("DELETE", "/auth/me", expect=204, password=password)

    async def open_session(self, title: str, question: str) -> str:
        """Create a practice session and return its id."""
        session = await self.call("POST", "/sessions", expect=201, title=title, question=question)
        return str(session["id"])

    async def upload(
        self,
        recording: Path,
        content_type: str,
        *,
        extension: str | None = None,
        session_id: str | None = None,
    ) -> str:
        """Upload a recording with a presigned URL and return its object key.

        `extension` defaults to that of the file.
        """
        content = recording.read_bytes()
        presigned = await self.call(
            "POST",
            "/upload/s3-presign",
            content_type=content_type,
            extension=extension or recording.suffix.removeprefix("."),
            size=len(content),
            session_id=session_id,
        )
        async with httpx.AsyncClient(timeout=60, trust_env=False, verify=_tls_context()) as store:
            stored = await store.request(
                presigned["method"], presigned["url"], content=content, headers=presigned["headers"]
            )
        if stored.status_code != 200:
            raise ApiClientError(f"PUT to the store: {stored.status_code} {stored.text[:300]}")
        return str(presigned["key"])

    async def confirm(self, key: str, *, session_id: str | None = None) -> dict[str, Any]:
        """Confirm an upload."""
        return await self.call(
            "POST",
            "/upload/confirm",
            key=key,
            session_id=session_id,
        )

    async def complete(self, session_id: str, **body: Any) -> dict[str, Any]:
        """Complete a session."""
        return await self.call("POST", f"/sessions/{session_id}/complete", **body)

    async def feedback(self, session_id: str) -> dict[str, Any]:
        """Return the feedback of a session in its current state."""
        return await self.call("GET", f"/sessions/{session_id}/feedback")

    @asynccontextmanager
    async def socket(self) -> AsyncIterator["ClientSocket"]:
        """Open a WebSocket and authenticate with the first frame."""
        url = self._socket_url.replace("http", "ws", 1) + "/ws/transcribe"
        async with connect(url, proxy=None) as connection:
            socket = ClientSocket(connection)
            listening = asyncio.create_task(socket.listen())
            try:
                await socket.send("auth", token=self.token)
                await socket.wait_for("auth_success", seconds=10)
                yield socket
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)


class ClientSocket:
    """An open WebSocket that stores all received frames."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._frames: list[ReceivedFrame] = []
        self._frame_received = asyncio.Condition()
        self._is_closed = False

    async def listen(self) -> None:
        """Store every frame until the connection ends."""
        try:
            async for text in self._connection:
                received = ReceivedFrame(json.loads(text), time.perf_counter())
                async with self._frame_received:
                    self._frames.append(received)
                    self._frame_received.notify_all()
        finally:
            async with self._frame_received:
                self._is_closed = True
                self._frame_received.notify_all()

    async def send(self, kind: str, **fields: Any) -> None:
        """Send one frame."""
        await self._connection.send(json.dumps({"type": kind, **fields}))

    async def send_audio(self, content: bytes) -> None:
        """Send a chunk of live audio."""
        await self._connection.send(content)

    async def wait_for(self, kind: str, *, seconds: float, **fields: str) -> ReceivedFrame:
        """Return the first frame of this type with these field values.

        Raises:
            ApiClientError: If none arrives within `seconds` or the connection closes before.
        """

        def found() -> ReceivedFrame | None:
            matching = (frame for frame in self._frames if _matches(frame, kind, fields))
            return next(matching, None)

        try:
            async with asyncio.timeout(seconds), self._frame_received:
                await self._frame_received.wait_for(lambda: found() is not None or self._is_closed)
        except TimeoutError:
            raise ApiClientError(f"no {kind} on the socket within {seconds:.0f} s") from None
        received = found()
        if received is None:
            raise ApiClientError(f"the socket closed before a {kind} arrived")
        return received

    def frames(self, kind: str) -> list[ReceivedFrame]:
        """Return all frames of this type that have arrived."""
        return [received for received in self._frames if received.frame["type"] == kind]

    def count(self, kind: str, **fields: str) -> int:
        """Return how many different frames of this type and with these field values arrived."""
        matching = (received for received in self._frames if _matches(received, kind, fields))
        return len({received.frame.get("event_id") for received in matching})


def _matches(received: ReceivedFrame, kind: str, fields: Mapping[str, str]) -> bool:
    frame = received.frame
    return frame["type"] == kind and all(frame.get(name) == fields[name] for name in fields)
