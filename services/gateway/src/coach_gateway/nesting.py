"""How deep a JSON body nests, counted as it passes: parsers behind us recurse."""

import re

from coach_common.errors import BadRequest

_TELLING = re.compile(rb'["\\\[\]{}]')


class Nesting:
    """Counts brackets outside strings, across pieces of a body cut anywhere."""

    def __init__(self, deepest: int) -> None:
        self._deepest = deepest
        self._depth = 0
        self._is_in_string = False
        self._is_escaped = False

    def feed(self, piece: bytes) -> None:
        """Count one piece; BadRequest where it nests too deep."""
        # A backslash that ended the last piece escapes the first byte of this one.
        escaped_at = 0 if self._is_escaped else -1
        for found in _TELLING.finditer(piece):
            at, byte = found.start(), piece[found.start()]
            if at == escaped_at:
                continue
            if byte == 0x5C:  # \
                escaped_at = at + 1 if self._is_in_string else -1
            elif byte == 0x22:  # "
                self._is_in_string = not self._is_in_string
            elif self._is_in_string:
                continue
            elif byte in b"[{":
                self._depth += 1
                if self._depth > self._deepest:
                    raise BadRequest(
                        f"The request nests deeper than {self._deepest} levels.", code="too_deep"
                    )
            else:
                self._depth -= 1
        self._is_escaped = escaped_at == len(piece)
