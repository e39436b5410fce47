"""The profile over HTTP: bounds, owners, deletion and export."""

import json
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from coach_ai.deps import Deps
from coach_ai.domain import MAX_PROFILE_TEXT_CHARACTERS
from coach_ai.exported_tables import EXPORTED_TABLES
from coach_ai.profile.document_parser import MAX_DOCUMENT_BYTES
from coach_ai.tables import PROFILES
from coach_common.db.export import read_parts
from coach_common.events.catalog import UserDeleted
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import TokenIssuer
from coach_common.testing.harness import client_for, deliver_event
from support.documents import make_pdf

PATH = "/ai-interview/profile"
BODY: dict[str, Any] = {
    "role": "Backend engineer",
    "target_role": "Senior backend engineer",
    "target_companies": ["Acme", "Globex"],
    "years_of_experience": 6,
    "skills": ["Python", "PostgreSQL"],
    "resume": "I led the move of our billing service to Kubernetes.",
    "job_title": "Senior backend engineer",
    "job_description": "You have experience with Kubernetes.",
    "accommodations": ["pace", "fillers"],
}
EMPTY: dict[str, Any] = {
    "role": "",
    "target_role": "",
    "target_companies": [],
    "years_of_experience": None,
    "skills": [],
    "resume": "",
    "job_title": "",
    "job_description": "",
    "accommodations": [],
}


def _fields(response: httpx.Response) -> dict[str, Any]:
    return {name: response.json()[name] for name in EMPTY}


async def test_profile_is_created_replaced_and_deleted(client: httpx.AsyncClient) -> None:
    missing = [
        await client.get(PATH),
        await client.put(PATH, json=BODY),
        await client.delete(PATH),
    ]
    created = await client.post(PATH, json=BODY)
    again = await client.post(PATH, json=BODY)
    read = await client.get(PATH)
    replaced = await client.put(PATH, json={"accommodations": ["pauses", "pauses"]})
    sent_back = await client.put(PATH, json=replaced.json())
    deleted = await client.delete(PATH)
    deleted_profile = await client.get(PATH)

    assert [(one.status_code, one.json()["code"]) for one in [*missing, deleted_profile]] == [
        (404, "profile_not_found")
    ] * 4
    assert (created.status_code, _fields(created)) == (201, BODY)
    assert (again.status_code, again.json()["code"]) == (409, "profile_exists")
    assert read.json() == created.json()
    assert (replaced.status_code, _fields(replaced)) == (
        200, EMPTY | {"accommodations": ["pauses"]},
    )  # fmt: skip
    assert replaced.json()["created_at"] == created.json()["created_at"]
    assert _fields(sent_back) == _fields(replaced)
    assert deleted.status_code == 204


@pytest.mark.parametrize(
    "changes",
    [
        {"role": "a" * 201},
        {"target_companies": ["a"] * 21},
        {"skills": ["a"] * 101},
        {"skills": ["a" * 101]},
        {"skills": [" "]},
        {"years_of_experience": 81},
        {"years_of_experience": -1},
        {"resume": "a" * (MAX_PROFILE_TEXT_CHARACTERS + 1)},
        {"job_description": "a" * (MAX_PROFILE_TEXT_CHARACTERS + 1)},
        {"accommodations": ["pitch"]},
    ],
    ids=lambda changes: next(iter(changes)),
)
async def test_profile_beyond_its_bounds_returns_422(
    client: httpx.AsyncClient, changes: dict[str, object]
) -> None:
    refused = await client.post(PATH, json=changes)

    assert refused.status_code == 422
    assert refused.json()["errors"]


async def test_profile_is_exported_and_deleted_with_its_account(
    service: Service, deps: Deps, client: httpx.AsyncClient, issuer: TokenIssuer, user_id: UUID
) -> None:
    stranger_id = new_id()
    async with client_for(service, headers=issuer.bearer(stranger_id)) as stranger:
        await stranger.post(PATH, json=BODY)
        assert (await client.get(PATH)).status_code == 404
    await client.post(PATH, json=BODY)
    async with deps.db.read_only() as tx:
        parts = [part async for part in read_parts(tx, EXPORTED_TABLES, user_id)]

    await deliver_event(service, UserDeleted(user_id=user_id))

    assert "billing service to Kubernetes" in json.dumps(str(parts))
    refused = await client.post(PATH, json=BODY)
    assert (refused.status_code, refused.json()["code"]) == (401, "account_deleted")
    async with deps.db.read_only() as tx:
        rows = await tx.fetch_all(select(PROFILES.c.user_id))
    assert [row["user_id"] for row in rows] == [stranger_id]


async def test_resume_is_read_from_a_file_and_keeps_the_other_fields(
    client: httpx.AsyncClient,
) -> None:
    pdf = {"content-type": "application/pdf"}
    created = await client.post(f"{PATH}/resume", content=make_pdf(["First text."]), headers=pdf)
    await client.put(PATH, json=BODY)

    stored = await client.post(f"{PATH}/resume", content=make_pdf(["New text."]), headers=pdf)
    refused = await client.post(f"{PATH}/resume", content=b"text", headers=pdf)
    other = await client.post(f"{PATH}/resume", content=b"text", headers={"content-type": "a/b"})
    large = await client.post(f"{PATH}/resume", content=bytes(MAX_DOCUMENT_BYTES + 1), headers=pdf)

    assert (created.status_code, created.json()["profile"]["resume"]) == (200, "First text.")
    assert stored.json()["characters"] == len("New text.")
    assert (stored.json()["pages"], stored.json()["is_truncated"]) == (1, False)
    assert _fields(await client.get(PATH)) == BODY | {"resume": "New text."}
    assert [(one.status_code, one.json()["code"]) for one in (refused, other)] == [
        (422, "document_rejected")
    ] * 2
    assert (large.status_code, large.json()["code"]) == (413, "too_large")
