"""What the mobile app does, as code: the demo, the end-to-end tests and the benchmarks use it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
from websockets.asyncio.client import ClientConnection, connect


class ApiClientError(Exception):
    """The server did not answer as the contract says."""


@dataclass(frozen=True, slots=True)
class ReceivedFrame:
    """A frame from the server, and when it came (`time.perf_counter`)."""

    frame: dict[str, Any]
    received_at: float


class ApiClient:
    """One person with the app in hand."""

    def __init__(self, base_url: str, socket_url: str | None = None) -> None:
        """`socket_url`: the door that holds the socket, where it is another one."""
        self.base_url = base_url
        self._socket_url = socket_url or base_url
        self.token = self.refresh_token = self.user_id = ""  # nosec B105 # not signed in yet
        self._http = httpx.AsyncClient(base_url=base_url, timeout=30, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def call(
        self, method: str, path: str, *, expect: int | None = 200, **body: Any
    ) -> dict[str, Any]:
        """Call the API with the token in hand; PhoneError where the status is not `expect`."""
        response = await self.send(method, path, **({"json": body} if body else {}))
        if expect is not None and response.status_code != expect:
            raise ApiClientError(f"{method} {path}: {response.status_code} {response.text[:300]}")
        return response.json() if response.content else {}

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Call the API and return the answer as it is."""
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        return await self._http.request(method, path, headers=headers, **options)

    async def register(self, email: str, password: str) -> None:
        """Make an account and stay signed in."""
        signed_in = await self.call(
            "POST", "/auth/register", expect=201, email=email, password=password, name="Demo"
        )
        self.token, self.refresh_token = signed_in["token"], signed_in["refresh_token"]
        self.user_id = signed_in["user"]["id"]

    async def open_session(self, title: str, question: str) -> str:
        """Open an interview session and return its id."""
        session = await self.call("POST", "/sessions", expect=201, title=title, question=question)
        return str(session["id"])

    async def upload(
        self, recording: Path, content_type: str, *, session_id: str | None = None
    ) -> str:
        """Ask where to, and PUT the file straight to the store; return its key."""
        content = recording.read_bytes()
        presigned = await self.call(
            "POST",
            "/upload/s3-presign",
            content_type=content_type,
            extension=recording.suffix.removeprefix("."),
            size=len(content),
            session_id=session_id,
        )
        async with httpx.AsyncClient(timeout=60, trust_env=False) as store:
            stored = await store.request(
                presigned["method"], presigned["url"], content=content, headers=presigned["headers"]
            )
        if stored.status_code != 200:
            raise ApiClientError(f"PUT to the store: {stored.status_code} {stored.text[:300]}")
        return str(presigned["key"])

    async def confirm(self, key: str, *, session_id: str | None = None) -> dict[str, Any]:
        """Say that the upload is done."""
        return await self.call(
            "POST",
            "/upload/confirm",
            key=key,
            uploaded_at=int(time.time() * 1000),
            session_id=session_id,
        )

    async def complete(self, session_id: str, **body: Any) -> dict[str, Any]:
        """Say that the answer is given."""
        return await self.call("POST", f"/sessions/{session_id}/complete", **body)

    async def feedback(self, session_id: str) -> dict[str, Any]:
        """Read the feedback, whatever its state."""
        return await self.call("GET", f"/sessions/{session_id}/feedback")

    @asynccontextmanager
    async def socket(self) -> AsyncIterator["ClientSocket"]:
        """Open the socket and authenticate by the first frame."""
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
    """The open socket: frames are kept as they come, and waited for by type and session."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._frames: list[ReceivedFrame] = []
        self._frame_received = asyncio.Condition()
        self._is_closed = False

    async def listen(self) -> None:
        """Keep every frame until the connection ends."""
        try:
            async for text in self._connection:
                push = ReceivedFrame(json.loads(text), time.perf_counter())
                async with self._frame_received:
                    self._frames.append(push)
                    self._frame_received.notify_all()
        finally:
            async with self._frame_received:
                self._is_closed = True
                self._frame_received.notify_all()

    async def send(self, kind: str, **fields: Any) -> None:
        """Send one frame."""
        await self._connection.send(json.dumps({"type": kind, **fields}))

    async def send_audio(self, content: bytes) -> None:
        """Send a piece of live audio."""
        await self._connection.send(content)

    async def wait_for(self, kind: str, *, seconds: float, **fields: str) -> ReceivedFrame:
        """Return the first frame of this type with these fields; PhoneError if none comes."""

        def found() -> ReceivedFrame | None:
            return next((push for push in self._frames if _matches(push, kind, fields)), None)

        try:
            async with asyncio.timeout(seconds), self._frame_received:
                await self._frame_received.wait_for(lambda: found() is not None or self._is_closed)
        except TimeoutError:
            raise ApiClientError(f"no {kind} on the socket within {seconds:.0f} s") from None
        push = found()
        if push is None:
            raise ApiClientError(f"the socket closed before a {kind} came")
        return push

    def frames(self, kind: str) -> list[ReceivedFrame]:
        """Return all frames of this type so far."""
        return [push for push in self._frames if push.frame["type"] == kind]

    def count(self, kind: str, **fields: str) -> int:
        """Return how many different frames of this type came with these fields."""
        fitting = (push for push in self._frames if _matches(push, kind, fields))
        return len({push.frame.get("event_id") for push in fitting})


def _matches(push: ReceivedFrame, kind: str, fields: Mapping[str, str]) -> bool:
    frame = push.frame
    return frame["type"] == kind and all(frame.get(name) == fields[name] for name in fields)
