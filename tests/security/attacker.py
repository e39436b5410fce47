"""The system under test and its users. Every response is checked when it arrives."""

import asyncio
import base64
import hashlib
import json
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import httpx
import jwt
from stacks import RunningStack
from websockets.asyncio.client import ClientConnection, connect

from coach_auth.keys import KeyDerivation
from coach_common.testing.harness import http_client, wait_until

PASSWORD = "seven violet walrus umbrellas"
"""Password of all users. Must not appear in any log."""

VICTIM_TRANSCRIPT = "The violet walrus answered in Lisbon that the migration took two days."
"""Transcript of the victim. Must not appear in any log or in a response to another user."""

PROBLEM_MEDIA_TYPE = "application/problem+json"
_SERVICES = ("auth", "sessions", "media", "ai")
_user_numbers = count(2)


def check_response(status: int, headers: Any, body: bytes) -> None:
    """Assert that a response is no server error, and that errors are problem documents."""
    summary = f"{status} {dict(headers)} {body[:300]!r}"
    assert status < 500 or status in (501, 503), summary
    if status >= 400:
        assert headers.get("content-type") == PROBLEM_MEDIA_TYPE, summary
        assert body == b"" or json.loads(body)["request_id"], summary
    if status == 401:
        assert headers.get("www-authenticate", "").startswith("Bearer"), summary
    if status in (429, 503):
        assert int(headers.get("retry-after", "0")) >= 1, summary


@dataclass
class SsrfCanary:
    """A listener that must never be contacted."""

    url: str = ""
    hits: int = 0

    async def hit(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hits += 1
        writer.close()


@dataclass
class SystemUnderTest:
    """The running system: its gateway, files, logs, and the secrets that must not be logged."""

    stack: RunningStack
    directory: Path
    canary: SsrfCanary
    secrets: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        return self.stack.url

    @property
    def address(self) -> tuple[str, int]:
        url = httpx.URL(self.url)
        return url.host, url.port or 80

    @property
    def pids(self) -> dict[str, int]:
        """Return the process ids. Fails if a process has ended."""
        pids = {}
        for name, process in self.stack.processes.items():
            assert process.running is not None, name
            assert process.running.returncode is None, process.log_tail()
            pids[name] = process.running.pid
        return pids

    def log_text(self) -> str:
        """Return the text of all logs."""
        return "".join(
            process.log.read_text(errors="replace") for process in self.stack.processes.values()
        )

    def leaked_secrets(self) -> set[str]:
        """Return the secrets that appear in a log."""
        text = self.log_text()
        return {secret for secret in self.secrets if secret in text}

    def memory_kib(self) -> int:
        """Return the resident memory of the gateway process in KiB."""
        name = "gateway" if "gateway" in self.pids else "embedded"
        status = Path(f"/proc/{self.pids[name]}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0])

    def open_files(self) -> int:
        """Return the number of open file descriptors of the embedded process."""
        return len(list(Path(f"/proc/{self.pids['embedded']}/fd").iterdir()))

    def query(self, service: str, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Query a service's database directly."""
        uri = f"file:{self.directory}/data/{service}.db?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=10)) as database:
            return database.execute(query, values).fetchall()

    async def wait_until_events_are_applied(self) -> None:
        """Wait until no event is in an outbox or a queue. Embedded profile only."""

        async def are_applied() -> bool:
            outboxes = [self.query(service, "SELECT 1 FROM outbox") for service in _SERVICES]
            under_way = "SELECT 1 FROM messages WHERE dead_at IS NULL AND queue <> 'coach.unrouted'"
            return not any(outboxes) and not self.query("broker", under_way)

        await wait_until(are_applied, description="the events to be applied")

    def sign_token(self, header: dict[str, Any], payload: dict[str, Any]) -> str:
        """Sign a token with the server's real key, to test the validation of claims."""
        query = "SELECT private_key FROM signing_keys WHERE kid = ?"
        wrapped = self.query("auth", query, header["kid"])
        secret_key = json.loads((self.directory / "data" / "secrets.json").read_text())[
            "secret_key"
        ]
        key = KeyDerivation(secret_key).unwrap(header["kid"], wrapped[0][0]).private_key
        signed = signing_input(header, payload)
        return f"{signed}.{b64(jwt.get_algorithm_by_name('RS256').sign(signed.encode(), key))}"

    def execute_sql(self, service: str, statement: str, *values: object) -> None:
        """Change a service's database directly, for example to move a time into the past."""
        file = f"{self.directory}/data/{service}.db"
        with closing(sqlite3.connect(file, timeout=10)) as database, database:
            assert database.execute(statement, values).rowcount > 0

    def user_rows_digest(self, user_id: str) -> str:
        """Return a digest of the user's rows in all tables except outbox and jobs."""
        digest = hashlib.sha256()
        for service in _SERVICES:
            tables = self.query(service, "SELECT name FROM sqlite_master WHERE type = 'table'")
            for (table,) in sorted(tables):
                columns = [row[1] for row in self.query(service, f"PRAGMA table_info({table})")]
                owner = "user_id" if "user_id" in columns else "id" if table == "users" else None
                if owner is not None and table not in ("outbox", "jobs", "mails"):
                    query = f"SELECT * FROM {table} WHERE {owner} = ? ORDER BY 1"
                    digest.update(repr(self.query(service, query, UUID(user_id).bytes)).encode())
        return digest.hexdigest()


class ApiUser:
    """A user with an account and a separate IP address (127.x.y.z)."""

    def __init__(self, target: SystemUnderTest, url: str | None = None) -> None:
        number = next(_user_numbers)
        self.target = target
        self.name = f"person{number}"
        self.email = f"{self.name}@example.com"
        self.address = f"127.0.{number // 250}.{number % 250 + 2}"
        self.url = url or target.url
        self.token = self.refresh_token = self.user_id = ""
        self.http = httpx.AsyncClient(
            base_url=self.url,
            timeout=30,
            transport=httpx.AsyncHTTPTransport(local_address=self.address, retries=0),
            event_hooks={"response": [_check_http_response]},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def register(self) -> None:
        """Create the account and store its tokens."""
        response = await self.http.post(
            "/auth/register", json={"email": self.email, "password": PASSWORD, "name": self.name}
        )
        assert response.status_code == 201, response.text
        self.store_tokens(response.json())
        self.user_id = response.json()["user"]["id"]

    def store_tokens(self, signed_in: dict[str, Any]) -> None:
        """Store these tokens. They must not appear in any log."""
        self.token, self.refresh_token = signed_in["token"], signed_in["refresh_token"]
        self.target.secrets |= {self.token, self.refresh_token, PASSWORD}

    async def login(self, password: str = PASSWORD) -> httpx.Response:
        """Log in again and store the new tokens."""
        response = await self.http.post(
            "/auth/login", json={"email": self.email, "password": password}
        )
        if response.status_code == 200:
            self.store_tokens(response.json())
        return response

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Call the API with the access token."""
        headers = {"authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        return await self.http.request(method, path, headers=headers, **options)

    async def session(self, **body: Any) -> str:
        """Create a practice session and return its id."""
        payload = {"title": "Mine", "question": "Why?"} | body
        response = await self.call("POST", "/sessions", json=payload)
        assert response.status_code == 201, response.text
        if self.target.stack.profile == "embedded":
            await self.target.wait_until_events_are_applied()
        return str(response.json()["id"])

    async def presign(self, **body: Any) -> dict[str, Any]:
        """Return a presigned upload."""
        payload = {"content_type": "audio/wav", "extension": "wav"} | body
        response = await self.call("POST", "/upload/s3-presign", json=payload)
        assert response.status_code == 200, response.text
        presigned: dict[str, Any] = response.json()
        self.target.secrets.add(str(httpx.URL(presigned["url"]).params["X-Amz-Signature"]))
        return presigned

    async def put(self, presigned: dict[str, Any], content: bytes) -> None:
        """Upload a recording to storage."""
        async with http_client() as store:
            response = await store.put(
                presigned["url"], content=content, headers=presigned["headers"]
            )
        assert response.status_code == 200, response.text

    async def confirm(self, key: str, **body: Any) -> httpx.Response:
        """Confirm an upload."""
        payload = {"key": key, "uploaded_at": 1_764_000_000_000} | body
        return await self.call("POST", "/upload/confirm", json=payload)

    def socket(self, **options: Any) -> connect:
        """Open an unauthenticated WebSocket."""
        url = self.url.replace("http", "ws", 1) + "/ws/transcribe"
        local_address = {"local_addr": (self.address, 0)}
        return connect(url, proxy=None, compression=None, **(local_address | options))


async def next_frame(socket: ClientConnection, kind: str, *, seconds: float = 15) -> dict[str, Any]:
    """Return the next frame of this type. Skips frames of other types."""
    async with asyncio.timeout(seconds):
        while True:
            frame: dict[str, Any] = json.loads(await socket.recv())
            if frame["type"] == kind:
                return frame


async def authenticate_socket(socket: ClientConnection, user: ApiUser) -> None:
    """Authenticate with the first frame."""
    await socket.send(json.dumps({"type": "auth", "token": user.token}))
    await next_frame(socket, "auth_success")


@dataclass(frozen=True)
class RawResponse:
    """The response to a raw request. Status 0 means that none arrived."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_closed: bool


async def send_raw_request(
    target: SystemUnderTest, request: bytes, *, seconds: float = 10, checked: bool = True
) -> RawResponse:
    """Send bytes and read one response. With `checked`, check it like every response."""
    reader, writer = await asyncio.open_connection(*target.address)
    received, is_closed = b"", False
    try:
        async with asyncio.timeout(seconds):
            try:
                writer.write(request)
                await writer.drain()
                while not _is_complete(received):
                    chunk = await reader.read(65_536)
                    if not chunk:
                        is_closed = True
                        break
                    received += chunk
            except ConnectionError:
                is_closed = True
    except TimeoutError:
        pass
    finally:
        writer.close()
    head, _, body = received.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    status = int(status_line.split(" ")[1]) if status_line else 0
    response = RawResponse(status, headers, body, is_closed or headers.get("connection") == "close")
    if checked and status:
        check_response(status, httpx.Headers(headers), body)
    return response


def _is_complete(received: bytes) -> bool:
    head, separator, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return bool(separator) and length is not None and len(body) >= int(length[1])


def b64(content: bytes) -> str:
    """Return base64url without padding (RFC 7515)."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def decode_token(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the claims of a token without verifying it."""
    header, claims, _ = token.split(".")
    return _decode_part(header), _decode_part(claims)


def _decode_part(part: str) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=="))
    return decoded


def signing_input(header: dict[str, Any], payload: dict[str, Any]) -> str:
    """Return the signing input of a token (RFC 7515)."""
    return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(payload).encode())}"


async def _check_http_response(response: httpx.Response) -> None:
    await response.aread()
    check_response(response.status_code, response.headers, response.content)
