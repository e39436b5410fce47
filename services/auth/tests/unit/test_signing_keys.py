"""What is due for signing keys."""

from datetime import UTC, datetime, timedelta

from coach_auth.domain import KeyRecord, KeyState, KeyStep, next_key_step

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
PERIOD, LEAD = timedelta(days=30), timedelta(seconds=120)


def _key(state: KeyState, age: timedelta) -> KeyRecord:
    return KeyRecord(state.value, state, NOW - age, NOW - age, None)


def _step(*keys: KeyRecord) -> KeyStep:
    return next_key_step(keys, NOW, period=PERIOD, lead=LEAD)


def test_a_key_that_has_signed_long_enough_gets_a_successor() -> None:
    assert _step(_key(KeyState.ACTIVE, PERIOD - timedelta(seconds=1))) is KeyStep.NONE
    assert _step(_key(KeyState.ACTIVE, PERIOD)) is KeyStep.PUBLISH


def test_a_successor_waits_until_every_verifier_has_seen_it() -> None:
    old = _key(KeyState.ACTIVE, PERIOD)

    assert _step(old, _key(KeyState.PUBLISHED, LEAD - timedelta(seconds=1))) is KeyStep.NONE
    assert _step(old, _key(KeyState.PUBLISHED, LEAD)) is KeyStep.ACTIVATE


def test_a_successor_that_an_operator_asked_for_signs_whatever_the_age_of_the_old_one() -> None:
    assert _step(_key(KeyState.ACTIVE, LEAD), _key(KeyState.PUBLISHED, LEAD)) is KeyStep.ACTIVATE


def test_retired_keys_have_no_say() -> None:
    assert _step(_key(KeyState.RETIRED, 2 * PERIOD), _key(KeyState.ACTIVE, LEAD)) is KeyStep.NONE
