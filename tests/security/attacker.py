"""The attacked system and those who attack it: every answer is checked as it comes."""

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

PASSWORD = "seven violet walrus umbrellas"
"""Everybody's, and in no log."""

VICTIM_TRANSCRIPT = "The violet walrus answered in Lisbon that the migration took two days."
"""What the victim said: in no log, and in nobody else's hands."""

PROBLEM_MEDIA_TYPE = "application/problem+json"
_SERVICES = ("auth", "sessions", "media", "ai")
_numbers = count(2)


def check_answer(status: int, headers: Any, body: bytes) -> None:
    """Every answer but a success is a problem, with what its status asks for; none is a fault."""
    told = f"{status} {dict(headers)} {body[:300]!r}"
    assert status < 500 or status in (501, 503), told
    if status >= 400:
        assert headers.get("content-type") == PROBLEM_MEDIA_TYPE, told
        assert body == b"" or json.loads(body)["request_id"], told
    if status == 401:
        assert headers.get("www-authenticate", "").startswith("Bearer"), told
    if status in (429, 503):
        assert int(headers.get("retry-after", "0")) >= 1, told


@dataclass
class SsrfCanary:
    """A listener that nobody should ever call."""

    url: str = ""
    hits: int = 0

    async def hit(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hits += 1
        writer.close()


@dataclass
class SystemUnderTest:
    """The running system: its door, its files, its log, and what may stand in no log."""

    stack: RunningStack
    folder: Path
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
        """Return the process of every part; a part that ended is an error."""
        found = {}
        for name, process in self.stack.processes.items():
            assert process.running is not None, name
            assert process.running.returncode is None, process.log_tail()
            found[name] = process.running.pid
        return found

    def log_text(self) -> str:
        """Return everything that was logged so far."""
        return "".join(
            process.log.read_text(errors="replace") for process in self.stack.processes.values()
        )

    def leaked_secrets(self) -> set[str]:
        """Return the secrets that stand in a log."""
        text = self.log_text()
        return {secret for secret in self.secrets if secret in text}

    def memory_kib(self) -> int:
        """Return the resident memory of the process that serves the door."""
        name = "gateway" if "gateway" in self.pids else "embedded"
        status = Path(f"/proc/{self.pids[name]}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0])

    def open_files(self) -> int:
        """Return how many files and sockets the door's process holds."""
        return len(list(Path(f"/proc/{self.pids['embedded']}/fd").iterdir()))

    def query(self, service: str, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Read a service's database, as only somebody on the machine could."""
        uri = f"file:{self.folder}/data/{service}.db?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=10)) as database:
            return database.execute(query, values).fetchall()

    def sign_token(self, header: dict[str, Any], payload: dict[str, Any]) -> str:
        """Sign a token with the system's very own key: what if one of ours were bent?"""
        query = "SELECT private_key FROM signing_keys WHERE kid = ?"
        wrapped = self.query("auth", query, header["kid"])
        secret_key = json.loads((self.folder / "data" / "secrets.json").read_text())["secret_key"]
        key = KeyDerivation(secret_key).unwrap(header["kid"], wrapped[0][0]).private_key
        said = signing_input(header, payload)
        return f"{said}.{b64(jwt.get_algorithm_by_name('RS256').sign(said.encode(), key))}"

    def execute_sql(self, service: str, statement: str, *values: object) -> None:
        """Write to a service's database: time that has passed, for one."""
        file = f"{self.folder}/data/{service}.db"
        with closing(sqlite3.connect(file, timeout=10)) as database, database:
            assert database.execute(statement, values).rowcount > 0

    def user_rows_digest(self, user_id: str) -> str:
        """Return a digest of this user's rows in every table, but for what the relays move on."""
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
    """Somebody with an account, calling from an address of their own (127.x.y.z)."""

    def __init__(self, target: SystemUnderTest, url: str | None = None) -> None:
        number = next(_numbers)
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
            event_hooks={"response": [_checked]},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def register(self) -> None:
        """Make the account and stay signed in."""
        answer = await self.http.post(
            "/auth/register", json={"email": self.email, "password": PASSWORD, "name": self.name}
        )
        assert answer.status_code == 201, answer.text
        self.keep(answer.json())
        self.user_id = answer.json()["user"]["id"]

    def keep(self, signed_in: dict[str, Any]) -> None:
        """Stay signed in with these tokens, which may stand in no log."""
        self.token, self.refresh_token = signed_in["token"], signed_in["refresh_token"]
        self.target.secrets |= {self.token, self.refresh_token, PASSWORD}

    async def login(self, password: str = PASSWORD) -> httpx.Response:
        """Sign in once more, and stay signed in with that."""
        answer = await self.http.post(
            "/auth/login", json={"email": self.email, "password": password}
        )
        if answer.status_code == 200:
            self.keep(answer.json())
        return answer

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Call the API with the token in hand."""
        headers = {"authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        return await self.http.request(method, path, headers=headers, **options)

    async def session(self, **body: Any) -> str:
        """Open an interview session and return its id."""
        wanted = {"title": "Mine", "question": "Why?"} | body
        answer = await self.call("POST", "/sessions", json=wanted)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def presign(self, **body: Any) -> dict[str, Any]:
        """Return a place to PUT a recording."""
        wanted = {"content_type": "audio/wav", "extension": "wav"} | body
        answer = await self.call("POST", "/upload/s3-presign", json=wanted)
        assert answer.status_code == 200, answer.text
        place: dict[str, Any] = answer.json()
        self.target.secrets.add(str(httpx.URL(place["url"]).params["X-Amz-Signature"]))
        return place

    async def put(self, place: dict[str, Any], content: bytes) -> None:
        """PUT a recording straight into the store."""
        async with httpx.AsyncClient() as store:
            answer = await store.put(place["url"], content=content, headers=place["headers"])
        assert answer.status_code == 200, answer.text

    async def confirm(self, key: str, **body: Any) -> httpx.Response:
        """Say that a recording is there."""
        wanted = {"key": key, "uploaded_at": 1_764_000_000_000} | body
        return await self.call("POST", "/upload/confirm", json=wanted)

    def socket(self, **options: Any) -> connect:
        """Open a socket that has not signed in yet."""
        url = self.url.replace("http", "ws", 1) + "/ws/transcribe"
        local = {"local_addr": (self.address, 0)}
        return connect(url, proxy=None, compression=None, **(local | options))


async def next_frame(socket: ClientConnection, kind: str, *, seconds: float = 15) -> dict[str, Any]:
    """Return the next frame of this type, whatever comes before it."""
    async with asyncio.timeout(seconds):
        while True:
            frame: dict[str, Any] = json.loads(await socket.recv())
            if frame["type"] == kind:
                return frame


async def authenticate_socket(socket: ClientConnection, person: ApiUser) -> None:
    """Authenticate by the first frame."""
    await socket.send(json.dumps({"type": "auth", "token": person.token}))
    await next_frame(socket, "auth_success")


@dataclass(frozen=True)
class RawResponse:
    """An answer to bytes that no client library would send; status 0: none came."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_closed: bool


async def send_raw_request(
    target: SystemUnderTest, request: bytes, *, seconds: float = 10, checked: bool = True
) -> RawResponse:
    """Send bytes as they are, and read one answer; `checked` as every other answer."""
    reader, writer = await asyncio.open_connection(*target.address)
    said, is_closed = b"", False
    try:
        async with asyncio.timeout(seconds):
            try:
                writer.write(request)
                await writer.drain()
                while not _is_whole(said):
                    piece = await reader.read(65_536)
                    if not piece:
                        is_closed = True
                        break
                    said += piece
            except ConnectionError:
                is_closed = True
    except TimeoutError:
        pass
    finally:
        writer.close()
    head, _, body = said.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    status = int(first.split(" ")[1]) if first else 0
    answer = RawResponse(status, headers, body, is_closed or headers.get("connection") == "close")
    if checked and status:
        check_answer(status, httpx.Headers(headers), body)
    return answer


def _is_whole(said: bytes) -> bool:
    head, found, body = said.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return bool(found) and length is not None and len(body) >= int(length[1])


def b64(content: bytes) -> str:
    """Return base64url without padding, as tokens have it."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def decode_token(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the claims of a token."""
    header, payload, _ = token.split(".")
    one, other = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in (header, payload))
    return one, other


def signing_input(header: dict[str, Any], payload: dict[str, Any]) -> str:
    """Return what is signed of a token."""
    return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(payload).encode())}"


async def _checked(answer: httpx.Response) -> None:
    await answer.aread()
    check_answer(answer.status_code, answer.headers, answer.content)
