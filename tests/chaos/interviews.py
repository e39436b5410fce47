"""The load: whole interviews of several people, and what the system has acknowledged to them."""

import asyncio
import json
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from chaos.system import System

RECORDINGS = Path(__file__).parents[1] / "recordings"
SOUNDS = (RECORDINGS / "austen-0880.wav", RECORDINGS / "austen-0930.wav")
QUESTION = "Tell me about a problem that you solved."
ANSWER = (
    "Last year our nightly build failed every second time, and the team had stopped looking at it."
    " I measured every step and found that two tests shared a database. I gave each test its own"
    " schema and made the job fail fast. After two weeks the build was green on 58 of 60 nights,"
    " and we shipped two days earlier."
)
PASSWORD = "a long test password"

_TIMEOUT_SECONDS = 5.0
_POLL_SECONDS = 0.7
_FINAL = ("ready", "failed")


@dataclass
class Interview:
    """One session and everything that was acknowledged about it."""

    person: "Person"
    session_id: str
    key: str | None = None
    upload_id: str | None = None
    is_completed: bool = False
    feedback: dict[str, Any] | None = None
    """The first final feedback that was read."""
    statuses: list[str] = field(default_factory=list)

    @property
    def is_final(self) -> bool:
        return self.feedback is not None


@dataclass
class Log:
    """What happened in a run."""

    people: list["Person"] = field(default_factory=list)
    interviews: list[Interview] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    samples: int = 0
    acknowledged_requests: int = 0
    failed_requests: int = 0

    def violate(self, text: str) -> None:
        """Record that a promise was broken."""
        if text not in self.violations:
            self.violations.append(text)


class Person:
    """A user with an HTTP client that repeats each request until it is acknowledged."""

    def __init__(self, system: System, log: Log, name: str) -> None:
        self.email = f"{name}@example.com"
        self.token = self.refresh_token = ""
        self.pushed: dict[str, set[str]] = {}
        """Per session: the ids of the pushes with final feedback."""
        self._system = system
        self._log = log
        self._http = httpx.AsyncClient(
            base_url=system.url, timeout=_TIMEOUT_SECONDS, trust_env=False
        )
        log.people.append(self)

    async def close(self) -> None:
        await self._http.aclose()

    async def register(self) -> None:
        """Create the account. If an earlier response was lost, sign in."""
        while True:
            body = {"email": self.email, "password": PASSWORD, "name": "Chaos"}
            response = await self._try("POST", "/auth/register", json=body)
            if response is not None and response.status_code == 400:
                response = await self._try("POST", "/auth/login", json=body)
            if response is not None and response.is_success:
                self._log.acknowledged_requests += 1
                self._store_tokens(response)
                return
            await asyncio.sleep(0.5)

    async def call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Send a request until it is acknowledged, and return the body.

        Raises:
            Refused: If the response is a client error other than 401 or 429.
        """
        while True:
            headers = {"authorization": f"Bearer {self.token}"}
            response = await self._try(method, path, headers=headers, **options)
            if response is None or response.status_code >= 500 or response.status_code == 429:
                self._log.failed_requests += 1
                await asyncio.sleep(0.3 + random.random() * 0.4)
            elif response.status_code == 401:
                await self._sign_in_again()
            elif response.is_success:
                self._log.acknowledged_requests += 1
                return response.json() if response.content else {}
            else:
                raise Refused(f"{method} {path}: {response.status_code} {response.text[:200]}")

    async def _try(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        try:
            return await self._http.request(method, path, **options)
        except httpx.HTTPError:
            return None

    async def _sign_in_again(self) -> None:
        body = {"refresh_token": self.refresh_token}
        response = await self._try("POST", "/auth/refresh", json=body)
        if response is not None and response.status_code == 401:
            login = {"email": self.email, "password": PASSWORD}
            response = await self._try("POST", "/auth/login", json=login)
            if response is not None and response.status_code == 401:
                self._log.violate(f"{self.email}: an acknowledged account cannot sign in")
        if response is not None and response.is_success:
            self._store_tokens(response)
        else:
            await asyncio.sleep(0.5)

    def _store_tokens(self, response: httpx.Response) -> None:
        body = response.json()
        self.token, self.refresh_token = body["token"], body["refresh_token"]

    async def put(self, url: str, content: bytes, headers: dict[str, str]) -> bool:
        """Store an object. Returns False if the store refused the signed URL."""
        proxied, host = self._system.route_store(url)
        while True:
            with suppress(httpx.HTTPError):
                async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False) as store:
                    response = await store.put(
                        proxied, content=content, headers={**headers, "host": host}
                    )
                if response.status_code == 200:
                    self._log.acknowledged_requests += 1
                    return True
                if response.status_code == 403:
                    return False
            self._log.failed_requests += 1
            await asyncio.sleep(0.5)

    async def listen(self) -> None:
        """Keep a socket open and record the pushed final feedback, until cancelled."""
        while True:
            with suppress(OSError, WebSocketException, TimeoutError, ValueError):
                async with connect(
                    self._system.socket_url, proxy=None, open_timeout=_TIMEOUT_SECONDS
                ) as socket:
                    await socket.send(json.dumps({"type": "auth", "token": self.token}))
                    async for text in socket:
                        frame = json.loads(text)
                        if frame["type"] == "feedback" and frame["status"] in _FINAL:
                            pushes = self.pushed.setdefault(frame["session_id"], set())
                            pushes.add(frame["event_id"])
                            check_final(frame, self._log)
                        if frame["type"] == "error" and frame.get("code", "").startswith("token"):
                            await self._sign_in_again()
            await asyncio.sleep(0.5)


class Refused(Exception):
    """The system refused a valid request."""


async def hold_interview(person: Person, log: Log, rng: random.Random, *, sound: bool) -> Interview:
    """Hold an interview up to its completion. Each step is repeated until acknowledged."""
    body = {"title": "Chaos", "question": QUESTION}
    created = await person.call("POST", "/sessions", json=body)
    interview = Interview(person, created["id"])
    log.interviews.append(interview)
    if not sound:
        await complete(interview, json={"transcript": ANSWER, "duration_seconds": 40})
        return interview
    content = rng.choice(SOUNDS).read_bytes()
    order = rng.choice(["confirm first", "complete first", "link later", "no confirm"])
    if order == "complete first":
        await complete(interview)
    linked = None if order == "link later" else interview.session_id
    interview.key = await upload(person, content, linked)
    if order == "no confirm":
        await complete(interview, json={"audio_s3_key": interview.key})
        return interview
    body = {"key": interview.key, "session_id": interview.session_id}
    confirmed = await person.call("POST", "/upload/confirm", json=body)
    interview.upload_id = confirmed["upload_id"]
    if not interview.is_completed:
        await complete(interview)
    return interview


async def upload(person: Person, content: bytes, session_id: str | None) -> str:
    """Upload a recording and return its key. A refused URL is replaced by a new one."""
    while True:
        body = {
            "content_type": "audio/wav",
            "extension": "wav",
            "size": len(content),
            "session_id": session_id,
        }
        presigned = await person.call("POST", "/upload/s3-presign", json=body)
        if await person.put(presigned["url"], content, presigned["headers"]):
            return str(presigned["key"])


async def complete(interview: Interview, **options: Any) -> None:
    """Complete the session of an interview."""
    path = f"/sessions/{interview.session_id}/complete"
    await interview.person.call("POST", path, **options)
    interview.is_completed = True


async def sample(interview: Interview, log: Log) -> None:
    """Read the feedback of an interview once and check what must hold at every moment."""
    path = f"/sessions/{interview.session_id}/feedback"
    feedback = await interview.person.call("GET", path)
    log.samples += 1
    status, name = feedback["status"], f"session {interview.session_id}"
    if not interview.statuses or interview.statuses[-1] != status:
        interview.statuses.append(status)
    check_final(feedback, log)
    first = interview.feedback
    if first is not None and first["status"] == "ready":
        changed = [field for field in first if first[field] != feedback[field]]
        if changed:
            log.violate(f"{name}: the feedback changed after it was ready: {', '.join(changed)}")
    if status in _FINAL and (first is None or first["status"] == "failed"):
        interview.feedback = feedback


def check_final(feedback: dict[str, Any], log: Log) -> None:
    """Check that feedback is complete if it says that it is ready."""
    if feedback["status"] != "ready":
        return
    name = f"session {feedback['session_id']}"
    if not feedback["transcript"]:
        log.violate(f"{name}: ready without transcript")
    if feedback["overall_score"] is None and not feedback["detailed_feedback"]:
        log.violate(f"{name}: ready without scores and without a reason")
    if not feedback["delivery"]:
        log.violate(f"{name}: ready without delivery")


async def follow(interview: Interview, log: Log) -> None:
    """Sample an interview until its feedback is final, and twice more."""
    while not interview.is_final:
        await sample(interview, log)
        await asyncio.sleep(_POLL_SECONDS)
    for _ in range(2):
        await asyncio.sleep(_POLL_SECONDS)
        await sample(interview, log)


@dataclass
class Load:
    """Starts interviews at a bounded rate until it is stopped."""

    system: System
    log: Log
    rng: random.Random
    seconds_between: float = 1.5
    max_in_progress: int = 16
    _people: list[Person] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _listeners: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        """Start interviews until cancelled. Every fifth has a recording."""
        number = 0
        while True:
            if len(self._tasks) < self.max_in_progress:
                person = await self._next_person(number)
                order = random.Random(self.rng.random())
                self._start(self._interview(person, order, sound=number % 5 == 0))
                number += 1
            await asyncio.sleep(self.seconds_between)

    async def until_first_is_final(self) -> None:
        """Wait until an interview has final feedback: the system runs as without faults."""
        while not any(one.is_final for one in self.log.interviews):
            await asyncio.sleep(0.1)

    async def finish(self, seconds: float) -> None:
        """Wait until all interviews are final, for at most `seconds`."""
        deadline = time.monotonic() + seconds
        while self._tasks and time.monotonic() < deadline:
            await asyncio.sleep(0.2)

    async def close(self) -> None:
        """Stop everything and close all clients."""
        tasks = [*self._tasks, *self._listeners]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for person in self.log.people:
            await person.close()

    async def _interview(self, person: Person, rng: random.Random, *, sound: bool) -> None:
        try:
            await follow(await hold_interview(person, self.log, rng, sound=sound), self.log)
        except Refused as refusal:
            self.log.violate(str(refusal))
        except Exception as error:
            self.log.violate(f"unexpected response: {type(error).__name__} {error}")

    async def _next_person(self, number: int) -> Person:
        """Return one of the people. A new one arrives with every fourth interview."""
        if number % 4 == 0:
            person = Person(self.system, self.log, f"person{number}-{self.rng.random():.9f}")
            await person.register()
            self._people.append(person)
            self._listeners.add(asyncio.create_task(person.listen()))
        return self.rng.choice(self._people[-4:])

    def _start(self, interview: Any) -> None:
        task = asyncio.create_task(interview)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
