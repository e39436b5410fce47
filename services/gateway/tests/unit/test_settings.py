"""Settings: new names, deprecated names, defaults."""

import pytest

from coach_gateway.config import GatewaySettings, find_deprecated_settings

TOKEN = "a token between services"


def test_deprecated_name_sets_the_renamed_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_A_MINUTE", "7")

    assert GatewaySettings(service_token=TOKEN).requests_per_minute == 7
    assert find_deprecated_settings() == {"REQUESTS_A_MINUTE": "REQUESTS_PER_MINUTE"}


def test_new_name_wins_over_the_deprecated_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_A_MINUTE", "7")
    monkeypatch.setenv("REQUESTS_PER_MINUTE", "8")

    assert GatewaySettings(service_token=TOKEN).requests_per_minute == 8


def test_new_names_are_not_deprecated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADER_TIMEOUT_SECONDS", "3")

    assert GatewaySettings(service_token=TOKEN).header_timeout_seconds == 3
    assert find_deprecated_settings() == {}
