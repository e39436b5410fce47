"""Sanitizing of generated text: the result is plain text without markup, links or control codes.

Removed are ANSI sequences, control characters except line feed and tab, invisible and bidirectional
characters, HTML tags, the address of Markdown links and images (their text stays) and bare URLs.
"""

import re

_UNSAFE = re.compile(
    r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x1b]*(?:\x1b\\)?|[@-Z\\^_])?")
_MARKUP = re.compile(
    r"</?[a-zA-Z!][^<>]{0,500}>|!?\[([^\[\]]{0,300})\]\((?:[^()]|\([^()]{0,200}\)){0,500}\)"
)
_URL = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://\S+|\b(?:javascript|data):\S+", re.IGNORECASE)
_UNFINISHED = re.compile(
    r"(?:!?\[[^\[\]]{0,300}(?:\](?:\([^()]{0,500}(?:\([^()]{0,200}\)?)?)?)?"  # A link or image.
    r"|<(?:[a-zA-Z!/][^<>]{0,500})?"  # A tag.
    r"|\x1b[^\n]{0,100}"  # An ANSI sequence.
    r"|[!-~]{1,200})\Z"  # A word, which may become a URL.
)

_BRACKETS = re.compile(r"[<>\[\]]")
_MAX_NESTING = 20
"""Levels of nested markup that are removed one by one. Beyond them, all brackets are removed."""


def sanitize(text: str) -> str:
    """Return the text without markup. Links and images are replaced by their text."""
    plain = _ANSI.sub("", _UNSAFE.sub("", text))
    for _ in range(_MAX_NESTING):
        less = _MARKUP.sub(lambda match: match[1] or "", plain)
        if less == plain:
            break
        plain = less
    else:
        plain = _BRACKETS.sub("", plain)
    return _URL.sub("", plain)


class StreamingSanitizer:
    """Sanitizes a text that arrives in pieces. Possible beginnings of markup are held back."""

    def __init__(self) -> None:
        self._pending = ""

    def feed(self, piece: str) -> str:
        """Add a piece and return the sanitized text that is complete so far."""
        text = _UNSAFE.sub("", self._pending + piece)
        unfinished = _UNFINISHED.search(text)
        end = len(text) if unfinished is None else unfinished.start()
        self._pending = text[end:]
        return sanitize(text[:end])

    def flush(self) -> str:
        """Return the sanitized rest."""
        rest, self._pending = self._pending, ""
        return sanitize(rest)
