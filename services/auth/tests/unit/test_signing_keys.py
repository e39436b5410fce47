"""The rotation step that is due for signing keys."""

from datetime import UTC, datetime, timedelta

from coach_auth.domain import KeyState, RotationStep, SigningKeyInfo, next_rotation_step

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
PERIOD, LEAD = timedelta(days=30), timedelta(seconds=120)


def _key(state: KeyState, age: timedelta) -> SigningKeyInfo:
    return SigningKeyInfo(state.value, state, NOW - age, NOW - age, None)


def _step(*keys: SigningKeyInfo) -> RotationStep:
    return next_rotation_step(keys, NOW, rotation_period=PERIOD, publication_lead=LEAD)


def test_successor_is_published_after_rotation_period() -> None:
    assert _step(_key(KeyState.ACTIVE, PERIOD - timedelta(seconds=1))) is RotationStep.NONE
    assert _step(_key(KeyState.ACTIVE, PERIOD)) is RotationStep.PUBLISH


def test_successor_is_activated_after_publication_lead() -> None:
    old = _key(KeyState.ACTIVE, PERIOD)

    assert _step(old, _key(KeyState.PUBLISHED, LEAD - timedelta(seconds=1))) is RotationStep.NONE
    assert _step(old, _key(KeyState.PUBLISHED, LEAD)) is RotationStep.ACTIVATE


def test_manually_published_key_is_activated_regardless_of_active_key_age() -> None:
    assert (
        _step(_key(KeyState.ACTIVE, LEAD), _key(KeyState.PUBLISHED, LEAD)) is RotationStep.ACTIVATE
    )


def test_retired_keys_do_not_trigger_rotation() -> None:
    assert (
        _step(_key(KeyState.RETIRED, 2 * PERIOD), _key(KeyState.ACTIVE, LEAD)) is RotationStep.NONE
    )
