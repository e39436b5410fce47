"""What the hub remembers of pushes, and when it must say that it does not."""

from uuid import UUID

import pytest

from coach_common.ids import new_id
from coach_gateway.hub import Hub


class Phone:
    """An open socket that keeps what it is told."""

    def __init__(self) -> None:
        self.login_id = new_id()
        self.frames: list[bytes] = []
        self.ended: list[str] = []

    def push(self, frame: bytes) -> None:
        self.frames.append(frame)

    def end(self, reason: str) -> None:
        self.ended.append(reason)

    def send_away(self) -> None:
        self.ended.append("away")


class Setting:
    """A hub whose time is set."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.hub = Hub(lambda: self.at)

    def push(self, user_id: UUID, *, at: float, text: str = "") -> str:
        self.at = 1000.0 + at
        event_id = str(new_id())
        self.hub.push(user_id, {"type": "feedback", "event_id": event_id, "text": text})
        return event_id

    def since(self, user_id: UUID, event_id: str) -> list[str] | None:
        import json

        frames = self.hub.since(user_id, event_id)
        return None if frames is None else [json.loads(frame)["event_id"] for frame in frames]


@pytest.fixture
def setting() -> Setting:
    return Setting()


@pytest.fixture
def user_id() -> UUID:
    return new_id()


def test_pushes_from_thirty_seconds_before_the_last_seen_are_sent_again(
    setting: Setting, user_id: UUID
) -> None:
    setting.push(user_id, at=0)
    early = setting.push(user_id, at=10)
    last = setting.push(user_id, at=40)
    later = setting.push(user_id, at=100)

    assert setting.since(user_id, last) == [early, last, later]


def test_an_event_of_somebody_else_is_not_known(setting: Setting, user_id: UUID) -> None:
    setting.push(user_id, at=0)
    others = setting.push(new_id(), at=1)

    assert setting.since(user_id, others) is None


def test_a_push_is_known_for_five_minutes(setting: Setting, user_id: UUID) -> None:
    first = setting.push(user_id, at=0)
    second = setting.push(user_id, at=300)
    assert setting.since(user_id, first) == [first, second]

    setting.push(user_id, at=331)
    assert setting.since(user_id, first) is None
    assert setting.since(user_id, second) is not None


def test_where_a_push_of_the_thirty_seconds_is_gone_nothing_is_promised(
    setting: Setting, user_id: UUID
) -> None:
    many = [setting.push(user_id, at=number / 100) for number in range(101)]

    assert setting.since(user_id, many[50]) is None


def test_large_pushes_push_out_earlier_ones(setting: Setting, user_id: UUID) -> None:
    first = setting.push(user_id, at=0)
    for number in range(6):
        setting.push(user_id, at=40 + number, text="x" * 100_000)
    last = setting.push(user_id, at=100)

    assert setting.since(user_id, first) is None
    assert setting.since(user_id, last) == [last]


def test_users_whose_pushes_are_old_are_forgotten_and_never_believed_whole_again(
    setting: Setting, user_id: UUID
) -> None:
    old = setting.push(user_id, at=0)
    setting.push(new_id(), at=400)
    again = setting.push(user_id, at=401)

    assert setting.since(user_id, old) is None
    assert setting.since(user_id, again) == [again]


def test_starting_over_sends_everybody_away_and_forgets(setting: Setting, user_id: UUID) -> None:
    phone = Phone()
    setting.hub.join(user_id, phone)
    last = setting.push(user_id, at=0)
    setting.hub.start_over()
    fresh = setting.push(user_id, at=10)
    whole = setting.push(user_id, at=31)

    assert phone.ended == ["away"]
    assert setting.since(user_id, last) is None
    assert setting.since(user_id, fresh) is None
    assert setting.since(user_id, whole) == [fresh, whole]


def test_an_ended_login_ends_its_own_sockets(setting: Setting, user_id: UUID) -> None:
    one, other = Phone(), Phone()
    for phone in (one, other):
        setting.hub.join(user_id, phone)
    setting.hub.end_logins({one.login_id})

    assert len(one.ended) == 1
    assert other.ended == []


def test_who_has_left_is_pushed_nothing(setting: Setting, user_id: UUID) -> None:
    gone, here = Phone(), Phone()
    for phone in (gone, here):
        setting.hub.join(user_id, phone)
    setting.hub.leave(user_id, gone)
    setting.push(user_id, at=0)

    assert (len(gone.frames), len(here.frames)) == (0, 1)
    assert setting.hub.count(user_id) == 1
