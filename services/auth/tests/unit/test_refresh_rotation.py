"""Refresh token rotation against a model: at any time only the newest token is unused."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from coach_auth.domain import Login, RefreshDecision, RefreshToken, decide_refresh

START = datetime(2026, 11, 24, tzinfo=UTC)
LIFE = timedelta(days=7)
GRACE_PERIOD = timedelta(seconds=60)


class RefreshRotationMachine(RuleBasedStateMachine):
    """Presents any token of a login at any time and applies the decision."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.login = Login(UUID(int=1), UUID(int=2), START, START, START + timedelta(days=90))
        self.tokens = [RefreshToken(b"0", self.login.id, START + LIFE)]

    @rule(seconds=st.sampled_from([0, 1, 59, 61, 3600, 86_400, 8 * 86_400]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(back=st.integers(0, 5))
    def present(self, back: int) -> None:
        index = max(0, len(self.tokens) - 1 - back)
        token = self.tokens[index]
        successor = self.tokens[index + 1] if index + 1 < len(self.tokens) else None
        was_live = self.login.is_live(self.now)

        means = decide_refresh(self.login, token, successor, self.now, grace_period=GRACE_PERIOD)

        if not was_live:
            assert means is RefreshDecision.REFUSE
        elif means is RefreshDecision.ROTATE:
            assert successor is None and self.now < token.expires_at
            self.tokens[index] = RefreshToken(
                token.digest, token.login_id, token.expires_at, self.now
            )
            self.tokens.append(
                RefreshToken(str(len(self.tokens)).encode(), token.login_id, self.now + LIFE)
            )
        elif means is RefreshDecision.REPLAY_IN_GRACE:
            assert successor is not None and successor.used_at is None
            assert token.used_at is not None and self.now - token.used_at <= GRACE_PERIOD
        elif means is RefreshDecision.REUSE:
            assert token.used_at is not None
            self.login = replace(self.login, revoked_at=self.now)

    @invariant()
    def only_the_newest_generation_is_unused(self) -> None:
        assert [token.used_at is None for token in self.tokens] == (
            [False] * (len(self.tokens) - 1) + [True]
        )


RefreshRotationMachine.TestCase.settings = settings(
    max_examples=200, stateful_step_count=30, deadline=None
)
TestRefreshRotation = RefreshRotationMachine.TestCase
