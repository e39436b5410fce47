"""Sanitizing of complete and streamed text."""

import re

import pytest

from coach_ai.chat.sanitizer import StreamingSanitizer, sanitize

EVIL = [
    ("<script>x</script>See ![pic](http://canary/?q=1) this", "xSee pic this"),
    ("[here](http://canary) and [there](javascript:alert(1))", "here and there"),
    ("red \x1b[31malert\x1b[0m done", "red alert done"),
    ("title \x1b]0;owned\x07 x\x1b\\ done", "title  done"),
    ("abc\u202edef\u200b\x00ghi", "abcdefghi"),
    ("Visit https://canary.example/x?y=z now", "Visit  now"),
    ("[[a](u)](http://canary/2)", "a"),
    ("ht\u200btp://canary/3 end", " end"),
    (
        "Use [STAR] and 2 < 3, a\nnew line\tand a tab.",
        "Use [STAR] and 2 < 3, a\nnew line\tand a tab.",
    ),
]


@pytest.mark.parametrize(("evil", "plain"), EVIL)
def test_sanitize_returns_plain_text(evil: str, plain: str) -> None:
    assert sanitize(evil) == plain


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
@pytest.mark.parametrize(("evil", "plain"), EVIL)
def test_streaming_sanitizer_equals_sanitize(evil: str, plain: str, size: int) -> None:
    stream = StreamingSanitizer()
    pieces = [stream.feed(evil[at : at + size]) for at in range(0, len(evil), size)]

    shown = "".join(pieces) + stream.flush()

    assert shown.replace("[", "").replace("]", "") == plain.replace("[", "").replace("]", "")


def test_streaming_sanitizer_does_not_delay_ordinary_words() -> None:
    stream = StreamingSanitizer()

    assert stream.feed("Begin with ") == "Begin with "
    assert stream.feed("the result. ") == "the result. "


@pytest.mark.parametrize("depth", [1, 19, 20, 21, 500])
def test_nested_markup_leaves_no_markup_at_any_depth(depth: int) -> None:
    nested = "<a" * depth + ">" * depth + "![x](" * depth + "http://canary" + ")" * depth

    plain = sanitize(f"Before {nested} after")

    assert not re.search(r"<\w[^<>]*>|\]\(|http", plain)
    assert plain.startswith("Before ") and plain.endswith(" after")
