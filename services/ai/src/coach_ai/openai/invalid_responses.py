"""Which requests got responses that could not be read, so that none is repeated unchanged."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

from coach_ai.openai.chat_completions import INVALID_RESPONSE_MESSAGE
from coach_ai.openai.provider_calls import InvalidResponse

_MAX_REQUESTS = 10_000
_FIRST_ATTEMPTS = 3
_FIRST_DELAY_SECONDS = 15 * 60.0
_MAX_DELAY_SECONDS = 8 * 3600.0


class InvalidResponses:
    """Counts the invalid responses of each request.

    At temperature 0 a model returns the same response to the same request, and bills it again. So
    an attempt number changes the request, and after three attempts the next one waits 15 minutes,
    then twice as long each time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._attempts: OrderedDict[str, tuple[int, float, str]] = OrderedDict()

    def list_attempts(self, key: str) -> range:
        """Return the numbers of the attempts to make now, from 0.

        Raises:
            InvalidResponse: If the last attempt was too recent.
        """
        attempts, last_at, reason = self._attempts.get(key, (0, 0.0, ""))
        if attempts < _FIRST_ATTEMPTS:
            return range(attempts, _FIRST_ATTEMPTS)
        delay = min(_MAX_DELAY_SECONDS, _FIRST_DELAY_SECONDS * 2.0 ** (attempts - _FIRST_ATTEMPTS))
        if self._clock() - last_at < delay:
            raise InvalidResponse(reason)
        return range(attempts, attempts + 1)

    def record(self, key: str, attempt: int, reason: str = INVALID_RESPONSE_MESSAGE) -> None:
        """Store that this attempt got an invalid response."""
        self._attempts[key] = (attempt + 1, self._clock(), reason)
        self._attempts.move_to_end(key)
        if len(self._attempts) > _MAX_REQUESTS:
            self._attempts.popitem(last=False)

    def forget(self, key: str) -> None:
        """Forget a request that got a valid response."""
        self._attempts.pop(key, None)


def digest(content: bytes) -> str:
    """Return the key of a request."""
    return hashlib.sha256(content).hexdigest()
