"""Bounds how deep a JSON body nests, because the services' parsers recurse."""

import re

from coach_common.errors import BadRequest

_STRUCTURAL = re.compile(rb'["\\\[\]{}]')


class JsonDepthCounter:
    """Counts brackets outside strings, over chunks of a body."""

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth
        self._depth = 0
        self._is_in_string = False
        self._is_escaped = False

    def feed(self, chunk: bytes) -> None:
        """Count the brackets of a chunk. Raises BadRequest if it nests too deep."""
        # A backslash at the end of the last chunk escapes the first byte of this one.
        escaped_at = 0 if self._is_escaped else -1
        for match in _STRUCTURAL.finditer(chunk):
            at, byte = match.start(), chunk[match.start()]
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
                if self._depth > self._max_depth:
                    raise BadRequest(
                        f"The JSON is nested more than {self._max_depth} levels deep.",
                        code="too_deep",
                    )
            else:
                self._depth -= 1
        self._is_escaped = escaped_at == len(chunk)
