"""String types of request bodies."""

from typing import Annotated

import pytest
from pydantic import BaseModel, ValidationError

from coach_common.text import EmptyToNone, UnicodeText


class Body(BaseModel):
    text: UnicodeText = ""
    reference: Annotated[UnicodeText | None, EmptyToNone] = None


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ude00\ud83d"])
def test_lone_surrogates_are_rejected(text: str) -> None:
    with pytest.raises(ValidationError):
        Body(text=text)


@pytest.mark.parametrize("text", ["", "ä", "\N{GRINNING FACE}", "\ufffd", "a\u0000"])
def test_encodable_text_is_accepted(text: str) -> None:
    assert Body(text=text).text == text


def test_empty_optional_reference_is_none() -> None:
    assert Body(reference="").reference is None
    assert Body(reference="x").reference == "x"
