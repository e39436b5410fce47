"""Attacks on the WebSocket: handshake, authentication, invalid frames, floods."""

import asyncio
import json
import os
import struct
import time
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from attacker import (
    PASSWORD,
    ApiUser,
    SystemUnderTest,
    authenticate_socket,
    decode_token,
    next_frame,
)
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Opcode

from coach_common.testing.harness import http_client, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _wait_closed(socket: ClientConnection, *, seconds: float = 15) -> int | None:
    """Read until the server closes the socket and return the close code."""
    async with asyncio.timeout(seconds):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None


async def test_a61_token_in_query_string_is_rejected(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    for query in ("token=", "access_token=", "x=1&token="):
        url = target.url.replace("http", "ws", 1) + f"/ws/transcribe?{query}{alice.token}"
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url, proxy=None):
                pass
        assert refused.value.response.status_code == 400


async def test_a62_page_of_a_foreign_origin_is_refused(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    subprotocols = ["bearer", alice.token]
    host, port = target.address
    for origin in (
        "https://evil.example", "null", "http://localhost:8081.evil",
        f"http://{host}.evil.example:{port}", f"http://{host}@evil.example:{port}",
    ):  # fmt: skip
        with pytest.raises(InvalidStatus) as refused:
            async with alice.socket(origin=origin, subprotocols=subprotocols):
                pass
        assert refused.value.response.status_code == 403


async def test_a62_page_of_an_allowed_origin_and_native_app_connect(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    host, port = target.address
    for origin in (
        "http://localhost:8081", None, f"http://{host}:{port}", f"https://{host}:{port}",
        "file://", "capacitor://localhost", "ionic://localhost",
    ):  # fmt: skip
        async with alice.socket(origin=origin, subprotocols=["bearer", alice.token]) as socket:
            assert socket.subprotocol == "bearer"
            assert (await next_frame(socket, "auth_success"))["user_id"] == alice.user_id


async def test_a62_handshake_does_not_echo_the_token(alice: ApiUser) -> None:
    async with alice.socket(subprotocols=["bearer", alice.token]) as socket:
        assert socket.response is not None
        assert alice.token not in str(socket.response.headers)
    async with alice.socket(subprotocols=["bearer"]) as socket:
        assert (await next_frame(socket, "error"))["code"] == "auth_timeout"
        assert await _wait_closed(socket) == 1008
    async with alice.socket(subprotocols=["chat", "x"]) as socket:
        assert socket.subprotocol is None


@pytest.mark.parametrize(
    "token",
    ["", "a.b.c", None, 7, ["x"], {"a": 1}, "x" * 9_000, "\udfff"],
    ids=lambda token: repr(token)[:12],
)
async def test_a62_invalid_token_closes_the_socket(alice: ApiUser, token: object) -> None:
    async with alice.socket() as socket:
        await socket.send(json.dumps({"type": "auth", "token": token}))
        assert (await next_frame(socket, "error"))["code"].startswith("token_")
        assert await _wait_closed(socket) == 1008


async def test_a63_frames_before_authentication_are_rejected(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    before = target.user_rows_digest(alice.user_id)
    for frame in (
        b"\0" * 100, json.dumps({"type": "session_start", "question": "Why?"}),
        json.dumps({"type": "ping"}), json.dumps({"type": "audio_start", "format": "wav"}),
    ):  # fmt: skip
        async with alice.socket() as socket:
            await socket.send(frame)
            assert (await next_frame(socket, "error"))["code"] == "auth_required"
            assert await _wait_closed(socket) == 1008
    assert target.user_rows_digest(alice.user_id) == before


async def test_a63_unauthenticated_sockets_are_limited_and_time_out(
    target: SystemUnderTest, alice: ApiUser, bob: ApiUser
) -> None:
    async with ApiUser(target) as crowd:
        sockets = await asyncio.gather(
            *(_open_socket(crowd) for _ in range(120)), return_exceptions=True
        )
        opened = [one for one in sockets if not isinstance(one, BaseException)]
        async with alice.socket() as mine:
            await authenticate_socket(mine, alice)
        codes = await asyncio.gather(*(_wait_closed(socket) for socket in opened))

    assert set(codes) == {1008}
    assert len(opened) >= 100


async def _open_socket(person: ApiUser) -> ClientConnection:
    return await person.socket(ping_interval=None)


async def test_a64_logout_closes_open_sockets(alice: ApiUser) -> None:
    async with alice.socket() as socket:
        await authenticate_socket(socket, alice)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await alice.call("POST", "/auth/logout")
        assert await _wait_closed(socket, seconds=5) == 1008
        assert loop.time() - began < 1.5, "one second, and the closing handshake"


async def test_a64_password_change_closes_other_sockets_only(alice: ApiUser) -> None:
    async with alice.socket() as first:
        await authenticate_socket(first, alice)
        await alice.login()
        async with alice.socket() as second:
            await authenticate_socket(second, alice)
            new = "nine violet walrus umbrellas"
            alice.target.secrets.add(new)
            changed = await alice.call(
                "PUT", "/auth/me", json={"newPassword": new, "currentPassword": PASSWORD}
            )
            assert changed.status_code == 200
            assert await _wait_closed(first, seconds=5) == 1008
            await second.send(json.dumps({"type": "ping"}))
            await next_frame(second, "pong")


async def test_a64_socket_cannot_switch_user(alice: ApiUser, bob: ApiUser) -> None:
    async with alice.socket() as socket:
        await authenticate_socket(socket, alice)
        await authenticate_socket(socket, alice)
        await socket.send(json.dumps({"type": "auth", "token": bob.token}))
        assert (await next_frame(socket, "error"))["code"] == "wrong_user"
        assert await _wait_closed(socket) == 1008


async def test_a64_socket_closes_at_token_expiry_unless_reauthenticated(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    header, payload = decode_token(alice.token)
    short = target.sign_token(header, payload | {"exp": int(time.time()) + 2})
    async with alice.socket() as first, alice.socket() as second:
        for socket in (first, second):
            await socket.send(json.dumps({"type": "auth", "token": short}))
            await next_frame(socket, "auth_success")
        await authenticate_socket(second, alice)
        assert (await next_frame(first, "error"))["code"] == "token_expired"
        assert await _wait_closed(first, seconds=5) == 1008
        await second.send(json.dumps({"type": "ping"}))
        await next_frame(second, "pong")


_DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "frame",
    [
        "x" * (1024 * 1024 + 100_000), _DEEP, '{"type": ' + _DEEP, "", "null", "7", "[]", "{}",
        '{"type": ["ping"]}', '{"type": {}}', '{"type": null}', '{"type": "no such"}',
        '{"type": "__class__"}', '{"type": "ping"', '{"type": "ping"} x', "NaN", "\x00",
    ],
    ids=range(17),
)  # fmt: skip
async def test_a66_invalid_frame_returns_error_and_keeps_socket_open(
    alice: ApiUser, frame: str
) -> None:
    async with alice.socket() as socket:
        await authenticate_socket(socket, alice)
        await socket.send(frame)
        await next_frame(socket, "error")
        await socket.send(json.dumps({"type": "ping"}))
        await next_frame(socket, "pong")


async def test_a66_oversized_frame_closes_the_socket(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    before = target.memory_kib()
    async with alice.socket(max_size=None) as socket:
        await authenticate_socket(socket, alice)
        with suppress(ConnectionClosed):
            await socket.send("x" * (17 * 2**20))
        assert await _wait_closed(socket) in (1009, None)
    assert target.memory_kib() - before < 64 * 1024


def _masked(opcode: int, payload: bytes, *, fin: bool = True, mask: bool = True) -> bytes:
    head = bytes([(0x80 if fin else 0) | opcode])
    size = len(payload)
    length = bytes([(0x80 if mask else 0) | size]) if size < 126 else b""
    if size >= 126:
        length = bytes([(0x80 if mask else 0) | 126]) + struct.pack(">H", size)
    if not mask:
        return head + length + payload
    key = os.urandom(4)
    return head + length + key + bytes(b ^ key[i % 4] for i, b in enumerate(payload))


@pytest.mark.parametrize(
    ("sent", "codes"),
    [
        (_masked(Opcode.TEXT, b"\xff\xfe\xfd"), {1007}),
        (_masked(Opcode.TEXT, b'{"type": "ping"}', mask=False), {1002}),
        (_masked(3, b"x"), {1002}),
        (_masked(Opcode.CONT, b"x"), {1002}),
        (_masked(Opcode.PING, b"x" * 126), {1002}),
        (bytes([0xC1, 0x81]) + b"\0\0\0\0x", {1002}),
        (bytes([0x81, 0xFF]) + struct.pack(">Q", 2**62) + b"\0\0\0\0", {1002, 1009}),
        (_masked(Opcode.CLOSE, struct.pack(">H", 1)), {1002}),
    ],
    ids=["utf8", "unmasked", "reserved", "continued", "long ping", "deflated", "2^62", "close"],
)
async def test_a66_protocol_violation_closes_the_socket(
    target: SystemUnderTest, alice: ApiUser, sent: bytes, codes: set[int]
) -> None:
    reader, writer = await _upgraded(target, alice)
    writer.write(sent)
    frames = bytearray()
    try:
        async with asyncio.timeout(10):
            while piece := await reader.read(65_536):
                frames += piece
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()

    at = frames.rfind(b"\x88")
    assert at >= 0, bytes(frames)
    assert struct.unpack(">H", frames[at + 2 : at + 4])[0] in codes


async def _upgraded(
    target: SystemUnderTest, person: ApiUser
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*target.address)
    writer.write(
        b"GET /ws/transcribe HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"sec-websocket-extensions: permessage-deflate\r\n"
        b"authorization: Bearer " + person.token.encode() + b"\r\n\r\n"
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 101 " in head and b"permessage-deflate" not in head
    while b"auth_success" not in await reader.read(65_536):
        pass
    return reader, writer


async def test_a66_frame_flood_closes_the_socket(alice: ApiUser) -> None:
    async with alice.socket() as socket:
        await authenticate_socket(socket, alice)
        with suppress(ConnectionClosed):
            for _ in range(1_000):
                await socket.send(json.dumps({"type": "ping"}))
        assert await _wait_closed(socket) == 1008


async def test_a66_fragment_flood_is_bounded(target: SystemUnderTest, alice: ApiUser) -> None:
    before = target.memory_kib()
    reader, writer = await _upgraded(target, alice)
    tiny = _masked(Opcode.CONT, b" ", fin=False)
    writer.write(_masked(Opcode.TEXT, b'{"type": "ping"', fin=False) + tiny * 10_000)
    writer.write(_masked(Opcode.CONT, b"}"))
    received = b""
    try:
        async with asyncio.timeout(20):
            while b"pong" not in received and b"\x88" not in received:
                received += await reader.read(65_536) or b"\x88"
    finally:
        writer.close()

    assert target.memory_kib() - before < 32 * 1024


async def test_a67_slow_reader_is_disconnected_without_blocking_others(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    _, writer = await _upgraded(target, alice)
    writer.transport.pause_reading()
    big = json.dumps({"type": "session_start", "question": 7, "title": "x" * 10})
    before = target.memory_kib()
    try:
        for _ in range(400):
            writer.write(_masked(Opcode.TEXT, big.encode()))
            await asyncio.sleep(0.001)
    except ConnectionError:
        pass
    async with ApiUser(target) as carol:
        await carol.register()
        async with carol.socket() as socket:
            await authenticate_socket(socket, carol)
            await socket.send(json.dumps({"type": "ping"}))
            await next_frame(socket, "pong")
    writer.close()

    assert target.memory_kib() - before < 32 * 1024


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "audio_end"},
        {"type": "audio_start", "format": "../../x"},
        {"type": "audio_start", "format": "wav", "sample_rate": 0},
        {"type": "audio_start", "format": "wav", "sample_rate": 10**9},
        {"type": "audio_start", "format": ["wav"]},
        {"type": "audio_start"},
    ],
    ids=str,
)
async def test_a70_invalid_audio_frame_order_returns_error(
    alice: ApiUser, frame: dict[str, object]
) -> None:
    async with alice.socket() as socket:
        await authenticate_socket(socket, alice)
        await socket.send(json.dumps(frame))
        assert (await next_frame(socket, "error"))["message"]
        await socket.send(json.dumps({"type": "ping"}))
        await next_frame(socket, "pong")


async def test_a70_binary_frame_before_audio_start_returns_error(alice: ApiUser) -> None:
    async with alice.socket() as socket:
        await authenticate_socket(socket, alice)
        await socket.send(bytes(3_200))
        assert (await next_frame(socket, "error"))["message"]
        await socket.send(json.dumps({"type": "ping"}))
        await next_frame(socket, "pong")


async def test_a64_sockets_per_user_are_limited(alice: ApiUser) -> None:
    sockets = [await alice.socket() for _ in range(21)]
    try:
        for socket in sockets[:20]:
            await authenticate_socket(socket, alice)
        await sockets[20].send(json.dumps({"type": "auth", "token": alice.token}))
        assert (await next_frame(sockets[20], "error"))["code"] == "too_many_sockets"
        assert await _wait_closed(sockets[20]) == 1008
    finally:
        for socket in sockets:
            await socket.close()

    async def free() -> bool:
        async with alice.socket() as again:
            await again.send(json.dumps({"type": "auth", "token": alice.token}))
            return json.loads(await again.recv())["type"] == "auth_success"

    await wait_until(free, description="room for another socket")


async def _start_live(
    socket: ClientConnection, session_id: str, **fields: object
) -> dict[str, Any]:
    """Start a live recording and return `audio_started` or `error`."""
    frame = {"type": "audio_start", "format": "pcm16", "sample_rate": 16_000}
    await socket.send(json.dumps(frame | {"session_id": session_id} | fields))
    async with asyncio.timeout(20):
        while True:
            answer: dict[str, Any] = json.loads(await socket.recv())
            if answer["type"] in ("audio_started", "error"):
                return answer


async def test_a70_live_recording_needs_a_key_that_media_issued(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    session_id = await alice.session()
    async with ApiUser(target) as other:
        await other.register()
        key_of_other = (await other.presign())["key"]
    mine = f"uploads/{alice.user_id}"
    async with alice.socket() as socket:
        await authenticate_socket(socket, alice)
        for key in (
            f"{mine}/1700000000000_deadbeef.wav", f"{mine}/anything at all.html",
            f"{mine}/../{other.user_id}/1700000000000_deadbeef.wav", f"{mine}/../evil/x.wav",
            f"{mine}//x.wav", f"{mine}/x\x00.wav", f"{mine}/" + "x" * 2_000,
            key_of_other, "/etc/passwd",
        ):  # fmt: skip
            answer = await _start_live(socket, session_id, key=key)
            assert answer["type"] == "error"
            await socket.send(bytes(64_000))
            await socket.send(json.dumps({"type": "audio_end"}))
        await socket.send(json.dumps({"type": "ping"}))
        await next_frame(socket, "pong")

    assert not [*(target.directory / "data" / "live").glob(f"{alice.user_id}/*")]
    assert not [*(target.directory / "data").glob(f"objects/**/{alice.user_id}/*")]


async def test_a70_confirmed_recording_cannot_be_overwritten(alice: ApiUser) -> None:
    session_id = await alice.session()
    audio = bytes(range(256)) * 250
    async with alice.socket() as socket:
        await authenticate_socket(socket, alice)
        key = (await _start_live(socket, session_id))["key"]
        await socket.send(audio)
        await socket.send(json.dumps({"type": "audio_end"}))

        async def is_confirmed() -> bool:
            confirmed = await alice.call("POST", "/upload/confirm", json={"key": key})
            return confirmed.status_code == 200

        await wait_until(is_confirmed, description="the stored recording")
    async with alice.socket() as socket:
        await authenticate_socket(socket, alice)
        refused = await _start_live(socket, session_id, key=key)
        await socket.send(bytes(3_200))
        await socket.send(json.dumps({"type": "audio_end"}))
    upload = (await alice.call("POST", "/upload/confirm", json={"key": key})).json()
    url = (await alice.call("GET", f"/upload/{upload['upload_id']}/url")).json()["url"]
    async with http_client(trust_env=False) as store:
        stored = (await store.get(url)).content

    assert refused["code"] == "already_stored"
    assert refused["upload"]["size"] == upload["size"] == len(audio) + 44
    assert stored[44:] == audio


async def test_a70_one_user_cannot_take_all_live_recordings(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    session_id = await alice.session()
    async with AsyncExitStack() as stack:
        answers = []
        for _ in range(6):
            socket = await stack.enter_async_context(alice.socket())
            await authenticate_socket(socket, alice)
            answers.append(await _start_live(socket, session_id))
        other = await stack.enter_async_context(ApiUser(target))
        await other.register()
        socket = await stack.enter_async_context(other.socket())
        await authenticate_socket(socket, other)
        of_other = await _start_live(socket, await other.session())

    kinds = [answer.get("code", answer["type"]) for answer in answers]
    assert kinds == ["audio_started"] * 2 + ["too_many_live_recordings"] * 4
    assert of_other["type"] == "audio_started"


async def test_a66_flood_of_large_text_frames_closes_the_socket(alice: ApiUser) -> None:
    frame = json.dumps({"type": "ping", "a": [1] * 340_000})
    async with alice.socket(max_size=None) as socket:
        await authenticate_socket(socket, alice)
        with suppress(ConnectionClosed):
            for _ in range(20):
                await socket.send(frame)
        assert await _wait_closed(socket) == 1008


async def test_a66_real_time_audio_is_not_a_flood(alice: ApiUser) -> None:
    session_id = await alice.session()
    async with alice.socket() as socket:
        await authenticate_socket(socket, alice)
        await _start_live(socket, session_id)
        # 10 s of an AudioWorklet at 16 kHz, as after a gap in the network.
        for _ in range(1_250):
            await socket.send(bytes(256))
        await socket.send(json.dumps({"type": "ping"}))
        await next_frame(socket, "pong")
