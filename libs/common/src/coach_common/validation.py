"""Types of requests that several services share, and readable validation errors."""

import math
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError


def _round_number(value: object) -> object:
    return round(value) if isinstance(value, float) and math.isfinite(value) else value


MeasuredNumber = Annotated[
    int, Field(strict=True), BeforeValidator(_round_number, json_schema_input_type=float)
]
"""A number that a device measures. A fraction is rounded."""


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
