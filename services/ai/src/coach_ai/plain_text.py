"""What a person is shown is plain text: no markup, no links, nothing that steers a terminal.

Taken out: ANSI sequences, control characters but line feed and tab, invisible and direction
characters, HTML tags, and the address of a Markdown link or image (its words stay) or a bare URL.
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
    r"(?:!?\[[^\[\]]{0,300}(?:\](?:\([^()]{0,500}(?:\([^()]{0,200}\)?)?)?)?"  # a link or image
    r"|<(?:[a-zA-Z!/][^<>]{0,500})?"  # a tag
    r"|\x1b[^\n]{0,100}"  # an ANSI sequence
    r"|[!-~]{1,200})\Z"  # a word, perhaps of an address
)


def clean(text: str) -> str:
    """Return plain text, of links and images the words."""
    plain = _ANSI.sub("", _UNSAFE.sub("", text))
    while True:
        less = _MARKUP.sub(lambda match: match[1] or "", plain)
        if less == plain:
            return _URL.sub("", plain)
        plain = less


class PlainStream:
    """Cleans a text that comes in pieces: what may be the beginning of markup is held back."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """Take a piece; return what may be shown by now."""
        text = _UNSAFE.sub("", self._held + piece)
        unfinished = _UNFINISHED.search(text)
        end = len(text) if unfinished is None else unfinished.start()
        self._held = text[end:]
        return clean(text[:end])

    def end(self) -> str:
        """Return the rest."""
        rest, self._held = self._held, ""
        return clean(rest)
