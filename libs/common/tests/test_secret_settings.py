"""Secrets that a deployment must not use."""

import secrets

import pytest
from pydantic import TypeAdapter, ValidationError

from coach_common.setting_types import SecretSetting

_ADAPTER = TypeAdapter(SecretSetting)


@pytest.mark.parametrize(
    "value",
    [
        "change-me-change-me",
        "please-change-me-before-use",
        "a-placeholder-of-32-characters-or-more",
        "your-secret-key",
        "secret-change-in-production",
        "aaaaaaaaaaaaaaaaaaaaaaaa",
    ],
)
def test_placeholder_secrets_are_rejected(value: str) -> None:
    with pytest.raises(ValidationError):
        _ADAPTER.validate_python(value)


def test_generated_secrets_are_accepted() -> None:
    value = secrets.token_urlsafe(24)
    assert _ADAPTER.validate_python(value) == value
