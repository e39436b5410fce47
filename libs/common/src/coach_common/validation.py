"""Readable messages from pydantic's validation errors."""

from pydantic import ValidationError


def clean_message(message: str) -> str:
    """Return a validation message without pydantic's prefix for errors of our own validators."""
    return message.removeprefix("Value error, ")


def describe_first_error(error: ValidationError) -> tuple[str, str]:
    """Return the dotted path of the first invalid field and what is wrong with it.

    The message never contains the rejected value.
    """
    first = error.errors(include_input=False, include_url=False)[0]
    return ".".join(str(part) for part in first["loc"]), clean_message(first["msg"])
