"""Access to another user's objects: by id, by guessing, by pagination. Each returns 404."""

import base64
import json
from uuid import UUID

import httpx
import pytest
from attacker import ApiUser, SystemUnderTest, authenticate_socket, next_frame

from coach_common.ids import new_id

pytestmark = pytest.mark.asyncio(loop_scope="session")

_MALFORMED = ("1", "not-an-id", "x" * 300, "00000000-0000-0000-0000-000000000000", "None")


async def _session_of(bob: ApiUser) -> str:
    return str((await bob.call("GET", "/sessions")).json()["sessions"][0]["id"])


def _comparable_body(response: httpx.Response) -> dict[str, object]:
    body: dict[str, object] = response.json()
    return body | {"request_id": ""}


def _assert_equal_bodies(responses: list[httpx.Response]) -> None:
    first = _comparable_body(responses[0])
    assert all(_comparable_body(response) == first for response in responses)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/sessions/{}"),
        ("POST", "/sessions/{}/complete"),
        ("GET", "/sessions/{}/feedback"),
        ("GET", "/sessions/{}/attempts"),
        ("POST", "/sessions/{}/rewrite"),
        ("POST", "/sessions/{}/dispute"),
        ("PUT", "/sessions/{}/self-rating"),
        ("DELETE", "/sessions/{}"),
    ],
)
async def test_a45_foreign_session_is_indistinguishable_from_missing(
    alice: ApiUser, bob: ApiUser, method: str, path: str
) -> None:
    bobs_id = await _session_of(bob)
    body = {"json": {"rating": 50}} if method == "PUT" else {}
    responses = [
        await alice.call(method, path.format(session_id), **body)
        for session_id in (
            bobs_id,
            str(new_id()),
            bobs_id.upper(),
            bobs_id.replace("-", ""),
            *_MALFORMED,
        )
    ]

    assert {response.status_code for response in responses} == {404}
    _assert_equal_bodies(responses)
    assert (await bob.call("GET", f"/sessions/{bobs_id}")).status_code == 200


async def test_a46_foreign_upload_is_indistinguishable_from_missing(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    async with ApiUser(target) as carol:
        await carol.register()
        presigned = await carol.presign()
        await carol.put(presigned, _WAV)
        upload_id = (await carol.confirm(presigned["key"])).json()["upload_id"]
        for path in ("/upload/{}", "/upload/{}/url"):
            responses = [
                await alice.call("GET", path.format(item))
                for item in (upload_id, str(new_id()), *_MALFORMED)
            ]
            assert {response.status_code for response in responses} == {404}
            _assert_equal_bodies(responses)
            assert (await carol.call("GET", path.format(upload_id))).status_code == 200
        stolen = await alice.confirm(presigned["key"])
        unknown = await alice.confirm(presigned["key"][:-12] + "00000000.wav")
        assert stolen.status_code == unknown.status_code == 404
        assert _comparable_body(stolen) == _comparable_body(unknown)


async def test_a46_foreign_conversation_returns_404(
    target: SystemUnderTest, alice: ApiUser, bob: ApiUser
) -> None:
    ((bobs_id,),) = target.query(
        "ai", "SELECT id FROM conversations WHERE user_id = ?", UUID(bob.user_id).bytes
    )
    responses = [
        await alice.call("POST", "/ai/chat", json={"message": "Go on.", "conversation_id": item})
        for item in (str(UUID(bytes=bobs_id)), str(new_id()), "x")
    ]

    assert {response.status_code for response in responses} == {404}
    _assert_equal_bodies(responses)


async def test_a48_foreign_session_cannot_be_linked(
    target: SystemUnderTest, alice: ApiUser, bob: ApiUser
) -> None:
    bobs_id = await _session_of(bob)
    upload = await alice.presign()
    await alice.put(upload, _WAV)
    presigned = await alice.call(
        "POST",
        "/upload/s3-presign",
        json={"content_type": "audio/wav", "extension": "wav", "session_id": bobs_id},
    )
    confirmed = await alice.confirm(upload["key"], session_id=bobs_id)
    completed = await alice.call(
        "POST", f"/sessions/{bobs_id}/complete", json={"audio_s3_key": upload["key"]}
    )
    async with alice.socket() as socket:
        await authenticate_socket(socket, alice)
        for frame in (
            {"type": "session_start", "question": "Why?", "session_id": bobs_id},
            {"type": "audio_uri", "key": upload["key"], "session_id": bobs_id},
            {"type": "complete", "session_id": bobs_id},
        ):
            await socket.send(json.dumps(frame))
            assert (await next_frame(socket, "error"))["code"] == "session_not_found"

    assert {presigned.status_code, confirmed.status_code, completed.status_code} == {404}
    linked = "SELECT 1 FROM {} WHERE session_id = ?"
    for service, table in (("media", "uploads"), ("sessions", "recordings"), ("ai", "recordings")):
        assert target.query(service, linked.format(table), UUID(bobs_id).bytes) == []


async def test_a48_foreign_recording_cannot_be_used_in_own_session(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    async with ApiUser(target) as carol:
        await carol.register()
        presigned = await carol.presign()
        await carol.put(presigned, _WAV)
        await carol.confirm(presigned["key"])
        own_id = await alice.session()
        completed = await alice.call(
            "POST", f"/sessions/{own_id}/complete", json={"audio_s3_key": presigned["key"]}
        )
        session = (await alice.call("GET", f"/sessions/{own_id}")).json()

        assert completed.status_code in (200, 404)
        assert session["transcript"] is None
        assert session["status"] in ("not_completed", "waiting_for_recording")
        carols_rows = "SELECT session_id FROM {} WHERE user_id = ?"
        for service, table in (("media", "uploads"), ("ai", "recordings")):
            rows = target.query(service, carols_rows.format(table), UUID(carol.user_id).bytes)
            assert set(rows) <= {(None,)}


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=101", "limit=-1", "limit=1e9", "limit=abc", "limit=1.5", "limit=",
        "cursor=abc", "cursor=" + base64.b64encode(b"' OR 1=1 --").decode(), "cursor=" + "A" * 43,
        "cursor=" + "A" * 101, "cursor=%00", "cursor=%F0%9F%98%80",
    ],
)  # fmt: skip
async def test_a50_invalid_pagination_parameters_are_rejected(alice: ApiUser, query: str) -> None:
    response = await alice.call("GET", f"/sessions?{query}")

    assert response.status_code == 422


async def test_a50_cursor_is_bound_to_user_and_stable(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    created = [await alice.session(title=f"Number {number}") for number in range(5)]
    first = (await alice.call("GET", "/sessions?limit=2")).json()
    cursor = first["next_cursor"]
    async with ApiUser(target) as carol:
        await carol.register()
        stolen = await carol.call("GET", "/sessions", params={"cursor": cursor})
    for position in range(0, len(cursor), 7):
        other = "A" if cursor[position] != "A" else "B"
        modified = cursor[:position] + other + cursor[position + 1 :]
        response = await alice.call("GET", "/sessions", params={"cursor": modified})
        assert response.status_code == 422
    await alice.session(title="Created between pages")
    second = (await alice.call("GET", f"/sessions?limit=2&cursor={cursor}")).json()
    third = (await alice.call("GET", f"/sessions?limit=2&cursor={second['next_cursor']}")).json()

    assert stolen.status_code == 422
    listed_ids = [item["id"] for page in (first, second, third) for item in page["sessions"]]
    assert listed_ids == created[::-1]


_INJECTIONS = (
    "'; DROP TABLE sessions; --", "{{7*7}}", "${jndi:ldap://127.0.0.1/a}", "%s%n%x", "\\", '"',
    "*)(uid=*))(|(uid=*", "<script>alert(1)</script>", "../../etc/passwd", "\u202egnp.exe",
    "\N{GRINNING FACE}" * 10, "$(id)", "`id`", "=cmd|' /C calc'!A0", "\ufeffx", "a\u0000b",
)  # fmt: skip


@pytest.mark.parametrize("text", _INJECTIONS, ids=range(len(_INJECTIONS)))
async def test_a51_injection_strings_are_stored_literally(alice: ApiUser, text: str) -> None:
    created = await alice.call("POST", "/sessions", json={"title": text, "question": text})
    assert created.status_code in (201, 422), created.text
    if created.status_code == 201:
        session = (await alice.call("GET", f"/sessions/{created.json()['id']}")).json()
        assert (session["title"], session["question"]) == (text, text)
        # A text without words is no transcript.
        transcript = f"I fixed it. {text}"
        completed = await alice.call(
            "POST", f"/sessions/{created.json()['id']}/complete", json={"transcript": transcript}
        )
        assert completed.status_code in (200, 422)
        if completed.status_code == 200:
            session = (await alice.call("GET", f"/sessions/{created.json()['id']}")).json()
            assert session["transcript"] == transcript
    updated = await alice.call("PUT", "/auth/me", json={"name": text})
    assert updated.status_code in (200, 422)
    if updated.status_code == 200:
        assert updated.json()["name"] == text
    quoted = httpx.QueryParams({"x": text})["x"]
    for path in ("/sessions/", "/upload/"):
        response = await alice.call("GET", path + str(httpx.URL("/", params={"q": quoted}).query))
        assert response.status_code in (400, 404)


async def test_a51_unpaired_surrogates_are_rejected(alice: ApiUser) -> None:
    for field in ("title", "question"):
        body = '{"title": "x", "question": "x", "' + field + '": "\\ud800"}'
        response = await alice.call(
            "POST", "/sessions", content=body, headers={"content-type": "application/json"}
        )
        assert response.status_code in (400, 422), response.text
    response = await alice.call(
        "POST",
        "/ai/chat",
        content='{"message": "\\udfff"}',
        headers={"content-type": "application/json"},
    )
    assert response.status_code in (400, 422)


@pytest.mark.parametrize(
    "body",
    [
        '{"duration_seconds": -1}', '{"duration_seconds": NaN}', '{"duration_seconds": 1e12}',
        '{"duration_seconds": "3"}', '{"duration_seconds": true}',
        '{"duration_seconds": Infinity}', '{"duration_seconds": 99999999999999999999}', "[]", "7",
        '"x"', "{", "", "\x00", "{}{}",
    ],
)  # fmt: skip
async def test_a52_invalid_duration_is_rejected(
    target: SystemUnderTest, alice: ApiUser, body: str
) -> None:
    session_id = await alice.session()
    before = target.user_rows_digest(alice.user_id)
    response = await alice.call(
        "POST",
        f"/sessions/{session_id}/complete",
        content=body,
        headers={"content-type": "application/json"},
    )

    if body == "":
        assert response.status_code == 200, "the body is optional"
    else:
        assert response.status_code == 422, response.text
        assert target.user_rows_digest(alice.user_id) == before


async def test_a52_body_duration_takes_precedence(alice: ApiUser) -> None:
    session_id = await alice.session()
    path = f"/sessions/{session_id}/complete"
    for query in ("-1", "1e12", "nan", "inf", "x"):
        response = await alice.call("POST", f"{path}?duration_seconds={query}")
        assert response.status_code == 422
    both = await alice.call("POST", f"{path}?duration_seconds=5", json={"duration_seconds": 0})

    assert both.json()["duration_seconds"] == 0


_WAV = (
    b"RIFF\x24\x7d\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80>\x00\x00\x00}\x00\x00"
    b"\x02\x00\x10\x00data\x00\x7d\x00\x00" + bytes(32_000)
)
"""One second of silence."""
