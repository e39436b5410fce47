"""Secrets that a deployment must not use."""

import pytest
from pydantic import TypeAdapter, ValidationError

from coach_common.config import SecretSetting

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
    value = "3q2-7w_KxT0mVb9yPz4uQe8rLn1sHd6f"
    assert _ADAPTER.validate_python(value) == value
