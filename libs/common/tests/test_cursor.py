import string
from datetime import UTC, datetime
from uuid import UUID

import pytest

from coach_common.errors import InvalidInput
from coach_common.http.cursor import decode_cursor, encode_cursor

USER_ID = UUID("01a20c8d-0000-7000-8000-000000000001")
POSITION = (
    datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC),
    UUID("01a20c8d-0000-7000-8000-000000000002"),
)
CURSOR = encode_cursor(POSITION, USER_ID, list_name="sessions")
ALPHABET = string.ascii_letters + string.digits + "-_"


def test_cursor_gives_its_position_back() -> None:
    assert decode_cursor(CURSOR, USER_ID, list_name="sessions") == POSITION


@pytest.mark.parametrize("index", range(len(CURSOR)))
def test_cursor_with_one_other_character_is_rejected(index: int) -> None:
    for other in ALPHABET.replace(CURSOR[index], ""):
        with pytest.raises(InvalidInput, match="cursor: invalid"):
            decode_cursor(
                CURSOR[:index] + other + CURSOR[index + 1 :], USER_ID, list_name="sessions"
            )


@pytest.mark.parametrize(
    "text", ["", "=", CURSOR + "=", CURSOR + "A", CURSOR[:-1], "é" * 43, "_" * 43]
)
def test_text_that_is_no_cursor_is_rejected(text: str) -> None:
    with pytest.raises(InvalidInput, match="cursor: invalid"):
        decode_cursor(text, USER_ID, list_name="sessions")


def test_cursor_of_another_user_or_list_is_rejected() -> None:
    for user_id, list_name in ((UUID(int=1), "sessions"), (USER_ID, "conversations")):
        with pytest.raises(InvalidInput, match="cursor: invalid"):
            decode_cursor(CURSOR, user_id, list_name=list_name)
