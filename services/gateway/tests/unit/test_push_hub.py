"""Which pushes the hub replays, and when it reports a gap."""

from uuid import UUID

import pytest

from coach_common.ids import new_id
from coach_gateway.push_hub import OPEN_SOCKETS, PushHub


class FakeSocket:
    """Records pushes and closes."""

    def __init__(self) -> None:
        self.login_id = new_id()
        self.frames: list[bytes] = []
        self.closes: list[str] = []

    def push(self, frame: bytes) -> None:
        self.frames.append(frame)

    def close_revoked(self, reason: str) -> None:
        self.closes.append(reason)

    def close_for_reconnect(self) -> None:
        self.closes.append("reconnect")


class HubWithClock:
    """A hub with a manual clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.hub = PushHub(lambda: self.now)

    def push(self, user_id: UUID, *, at: float, text: str = "") -> str:
        self.now = 1000.0 + at
        event_id = str(new_id())
        self.hub.push(user_id, {"type": "feedback", "event_id": event_id, "text": text})
        return event_id

    def replay_from(self, user_id: UUID, event_id: str) -> list[str] | None:
        import json

        frames = self.hub.replay_from(user_id, event_id)
        return None if frames is None else [json.loads(frame)["event_id"] for frame in frames]


@pytest.fixture
def hub_with_clock() -> HubWithClock:
    return HubWithClock()


@pytest.fixture
def user_id() -> UUID:
    return new_id()


def test_replay_starts_30_seconds_before_the_last_seen_push(
    hub_with_clock: HubWithClock, user_id: UUID
) -> None:
    hub_with_clock.push(user_id, at=0)
    early = hub_with_clock.push(user_id, at=10)
    last = hub_with_clock.push(user_id, at=40)
    later = hub_with_clock.push(user_id, at=100)

    assert hub_with_clock.replay_from(user_id, last) == [early, last, later]


def test_event_of_another_user_is_not_replayed(hub_with_clock: HubWithClock, user_id: UUID) -> None:
    hub_with_clock.push(user_id, at=0)
    others = hub_with_clock.push(new_id(), at=1)

    assert hub_with_clock.replay_from(user_id, others) is None


def test_pushes_are_retained_for_five_minutes(hub_with_clock: HubWithClock, user_id: UUID) -> None:
    first = hub_with_clock.push(user_id, at=0)
    second = hub_with_clock.push(user_id, at=300)
    assert hub_with_clock.replay_from(user_id, first) == [first, second]

    hub_with_clock.push(user_id, at=331)
    assert hub_with_clock.replay_from(user_id, first) is None
    assert hub_with_clock.replay_from(user_id, second) is not None


def test_replay_is_none_if_a_push_of_the_overlap_was_evicted(
    hub_with_clock: HubWithClock, user_id: UUID
) -> None:
    many = [hub_with_clock.push(user_id, at=number / 100) for number in range(101)]

    assert hub_with_clock.replay_from(user_id, many[50]) is None


def test_large_pushes_evict_earlier_ones(hub_with_clock: HubWithClock, user_id: UUID) -> None:
    first = hub_with_clock.push(user_id, at=0)
    for number in range(6):
        hub_with_clock.push(user_id, at=40 + number, text="x" * 100_000)
    last = hub_with_clock.push(user_id, at=100)

    assert hub_with_clock.replay_from(user_id, first) is None
    assert hub_with_clock.replay_from(user_id, last) == [last]


def test_evicted_user_history_is_not_complete_again(
    hub_with_clock: HubWithClock, user_id: UUID
) -> None:
    old = hub_with_clock.push(user_id, at=0)
    hub_with_clock.push(new_id(), at=400)
    again = hub_with_clock.push(user_id, at=401)

    assert hub_with_clock.replay_from(user_id, old) is None
    assert hub_with_clock.replay_from(user_id, again) == [again]


def test_reset_after_gap_closes_sockets_and_clears_history(
    hub_with_clock: HubWithClock, user_id: UUID
) -> None:
    phone = FakeSocket()
    hub_with_clock.hub.register(user_id, phone)
    last = hub_with_clock.push(user_id, at=0)
    hub_with_clock.hub.reset_after_gap()
    fresh = hub_with_clock.push(user_id, at=10)
    whole = hub_with_clock.push(user_id, at=31)

    assert phone.closes == ["reconnect"]
    assert hub_with_clock.replay_from(user_id, last) is None
    assert hub_with_clock.replay_from(user_id, fresh) is None
    assert hub_with_clock.replay_from(user_id, whole) == [fresh, whole]


def test_revoked_login_closes_its_own_sockets(hub_with_clock: HubWithClock, user_id: UUID) -> None:
    one, other = FakeSocket(), FakeSocket()
    for phone in (one, other):
        hub_with_clock.hub.register(user_id, phone)
    hub_with_clock.hub.close_revoked({one.login_id})

    assert len(one.closes) == 1
    assert other.closes == []


def test_closed_socket_gets_no_push(hub_with_clock: HubWithClock, user_id: UUID) -> None:
    closed, still_open = FakeSocket(), FakeSocket()
    for phone in (closed, still_open):
        hub_with_clock.hub.register(user_id, phone)
    hub_with_clock.hub.unregister(user_id, closed)
    hub_with_clock.push(user_id, at=0)

    assert (len(closed.frames), len(still_open.frames)) == (0, 1)
    assert hub_with_clock.hub.count(user_id) == 1


def test_metric_counts_the_sockets_of_its_own_hub(user_id: UUID) -> None:
    PushHub().register(user_id, FakeSocket())
    hub, phone = PushHub(), FakeSocket()
    for socket in (phone, FakeSocket()):
        hub.register(user_id, socket)
    hub.unregister(user_id, phone)

    assert OPEN_SOCKETS.collect()[0].samples[0].value == 1


class BrokenSocket(FakeSocket):
    """Raises on every call, as the transport of a lost connection may do."""

    def push(self, frame: bytes) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>")

    def close_revoked(self, reason: str) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>")

    def close_for_reconnect(self) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>")


@pytest.mark.parametrize("action", ["push", "close_revoked", "reset_after_gap"])
def test_failing_socket_does_not_affect_others(
    hub_with_clock: HubWithClock, user_id: UUID, action: str
) -> None:
    hub = hub_with_clock.hub
    working = [FakeSocket() for _ in range(3)]
    sockets = [BrokenSocket(), *working, BrokenSocket()]
    for socket in sockets:
        hub.register(user_id, socket)

    if action == "push":
        hub_with_clock.push(user_id, at=0)
    elif action == "close_revoked":
        hub.close_revoked({socket.login_id for socket in sockets})
    else:
        hub.reset_after_gap()

    assert [len(socket.frames) + len(socket.closes) for socket in working] == [1, 1, 1]


def test_socket_may_unregister_while_it_is_closed(
    hub_with_clock: HubWithClock, user_id: UUID
) -> None:
    hub = hub_with_clock.hub

    class LeavingSocket(FakeSocket):
        def close_revoked(self, reason: str) -> None:
            hub.unregister(user_id, self)
            super().close_revoked(reason)

    sockets = [LeavingSocket() for _ in range(3)]
    for socket in sockets:
        hub.register(user_id, socket)
    hub.close_revoked({socket.login_id for socket in sockets})

    assert [socket.closes for socket in sockets] == [["Your sign-in has ended."]] * 3


def test_pushes_about_deleted_sessions_and_users_are_discarded() -> None:
    hub, alice, bob, deleted = PushHub(), new_id(), new_id(), new_id()
    for user_id, session_id in ((alice, deleted), (alice, new_id()), (bob, deleted)):
        frame = {"type": "feedback", "event_id": str(new_id()), "session_id": str(session_id)}
        hub.push(user_id, frame)

    hub.discard_pushes(alice, session_id=deleted)
    hub.discard_pushes(bob, session_id=deleted)
    hub.discard_pushes(new_id())

    assert hub.find_pushes(alice, "feedback", "session_id", str(deleted)) == []
    (kept,) = hub.find_pushes(alice, "feedback", "type", "feedback")
    assert hub.replay_from(bob, kept["event_id"]) is None
    hub.discard_pushes(alice)
    assert hub.find_pushes(alice, "feedback", "type", "feedback") == []
    assert hub._size_bytes == 0
