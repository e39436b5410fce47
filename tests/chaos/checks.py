"""What must hold at the end of a run."""

import asyncio
import time

from chaos.interviews import ANSWER, QUESTION, Interview, Log, Person, Refused, complete, sample
from chaos.system import System
from coach_common.testing.harness import http_client

_PROBE_POLL_SECONDS = 0.1


async def check_interviews(log: Log, *, seconds: float = 120.0) -> None:
    """Check every acknowledged write, transcript and feedback with new requests."""
    try:
        async with asyncio.timeout(seconds):
            await _check_interviews(log)
    except TimeoutError:
        log.violate(f"the checks at the end took more than {seconds:.0f} s")


async def _check_interviews(log: Log) -> None:
    listed: dict[Person, set[str]] = {}
    for interview in log.interviews:
        person = interview.person
        if person not in listed:
            listed[person] = await _list_sessions(person)
        if interview.session_id not in listed[person]:
            log.violate(f"session {interview.session_id}: acknowledged and not in the list")
        try:
            await _check_interview(interview, log)
        except Refused as refusal:
            log.violate(f"acknowledged, then {refusal}")


async def _check_interview(interview: Interview, log: Log) -> None:
    name, person = f"session {interview.session_id}", interview.person
    session = await person.call("GET", f"/sessions/{interview.session_id}")
    feedback = await person.call("GET", f"/sessions/{interview.session_id}/feedback")
    statuses = " > ".join(interview.statuses)
    if interview.is_completed and session["completed_at"] is None:
        log.violate(f"{name}: the acknowledged completion is missing")
    if interview.is_completed and feedback["status"] != "ready":
        reason = feedback["detailed_feedback"]
        log.violate(f"{name}: {feedback['status']} at the end ({reason}); it was {statuses}")
    if interview.is_completed and session["status"] != feedback["status"]:
        log.violate(f"{name}: the session says {session['status']}, not {feedback['status']}")
    if interview.key is not None and session["audio_s3_key"] != interview.key:
        log.violate(f"{name}: the confirmed recording is not linked")
    if interview.upload_id is not None:
        upload = await person.call("GET", f"/upload/{interview.upload_id}")
        if upload["status"] != "transcribed" or not upload["transcript"]:
            log.violate(f"{name}: its upload is {upload['status']} ({upload.get('reason')})")
        elif feedback["transcript"] != upload["transcript"]:
            log.violate(f"{name}: the feedback shows another transcript than the upload")
    pushes = person.pushed.get(interview.session_id, set())
    if len(pushes) > 1:
        log.violate(f"{name}: {len(pushes)} different final feedbacks were pushed")


async def _list_sessions(person: Person) -> set[str]:
    found: set[str] = set()
    cursor = ""
    while True:
        page = await person.call("GET", f"/sessions?limit=100{cursor}")
        found |= {one["id"] for one in page["sessions"]}
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def check_backlog(system: System, log: Log, *, seconds: float = 90.0) -> None:
    """Check that outboxes, jobs and queues get empty, and that there is no dead letter.

    A message that failed throughout a fault waits up to 60 s for its next attempt.
    """
    deadline = time.monotonic() + seconds
    while backlog := await asyncio.to_thread(system.backlog):
        if time.monotonic() > deadline:
            log.violate(f"not empty at the end: {backlog}")
            return
        await asyncio.sleep(0.5)


async def read_repairs(system: System) -> dict[str, float]:
    """Return `coach_repairs_total` of all processes by service and effect."""
    found: dict[str, float] = {}
    urls = [system.stack.url]
    if not system.is_embedded:
        names = ("sessions", "media", "ai")
        urls = [f"http://127.0.0.1:{system.stack.processes[name].env['PORT']}" for name in names]
    async with http_client(trust_env=False) as http:
        for url in urls:
            for line in (await http.get(f"{url}/metrics")).text.splitlines():
                if line.startswith("coach_repairs_total{"):
                    labels, _, value = line.partition("} ")
                    found[labels.partition("{")[2]] = float(value)
    return found


async def probe(system: System, log: Log, number: int) -> float:
    """Return how many seconds a whole interview takes now, repeated until it succeeds."""
    started_at = time.monotonic()
    person = Person(system, log, f"probe{number}-{started_at:.6f}")
    await person.register()
    created = await person.call("POST", "/sessions", json={"title": "Probe", "question": QUESTION})
    interview = Interview(person, created["id"])
    log.interviews.append(interview)
    await complete(interview, json={"transcript": ANSWER})
    while not interview.is_final:
        await sample(interview, log)
        await asyncio.sleep(_PROBE_POLL_SECONDS)
    return time.monotonic() - started_at
