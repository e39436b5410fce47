"""String types of request bodies."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator


def _reject_surrogates(text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must not contain lone surrogates")
    return text


def _empty_to_none(value: object) -> object:
    return None if value == "" else value


UnicodeText = Annotated[str, AfterValidator(_reject_surrogates)]
"""A string that UTF-8 can encode. JSON can spell lone surrogates (`"\\ud800"`), which cannot be."""

EmptyToNone = BeforeValidator(_empty_to_none)
"""Marks an optional field in which "" means None: `Annotated[X | None, EmptyToNone]`."""
