"""Loading of settings that all services share."""

import pytest

from coach_common.config import Settings, SettingsError


def test_crash_point_is_rejected_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COACH_CRASH_AT", "transaction.committed")
    monkeypatch.setenv("ENVIRONMENT", "production")

    with pytest.raises(SettingsError, match=r"^setting COACH_CRASH_AT: .*ENVIRONMENT=production"):
        Settings.load()


def test_crash_point_is_accepted_outside_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COACH_CRASH_AT", "transaction.committed")
    monkeypatch.setenv("ENVIRONMENT", "development")

    assert Settings.load().environment == "development"


def test_invalid_setting_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "a secret value")

    with pytest.raises(SettingsError) as error:
        Settings.load()

    assert str(error.value).startswith("setting PORT: ")
    assert "secret value" not in str(error.value)
