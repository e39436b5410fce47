"""Readable messages from pydantic's validation errors."""

from pydantic import ValidationError


def clean_message(message: str) -> str:
    """Return a validation message without pydantic's prefix for errors of our own validators."""
    return message.removeprefix("Value error, ")


def describe_errors(error: ValidationError) -> list[tuple[str, str]]:
    """Return the dotted path of each invalid field and what is wrong with it.

    The path of an error of the whole model is empty. No message contains a rejected value.
    """
    return [
        (".".join(str(part) for part in one["loc"]), clean_message(one["msg"]))
        for one in error.errors(include_input=False, include_url=False)
    ]


def describe_first_error(error: ValidationError) -> tuple[str, str]:
    """Return the dotted path of the first invalid field and what is wrong with it.

    The message never contains the rejected value.
    """
    return describe_errors(error)[0]
