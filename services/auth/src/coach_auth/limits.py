"""Failed logins, counted by (account, address), by address and by account. Never a lock.

In memory: with several replicas each counts what it saw.
"""

from collections import OrderedDict, deque
from datetime import datetime, timedelta

from coach_common.clock import Clock
from coach_common.errors import TooMany

_WINDOW = timedelta(minutes=15)
_PER_ACCOUNT_AND_ADDRESS = 5
_PER_ADDRESS = 29
_PER_ACCOUNT = 99
_LONGEST_PAUSE_SECONDS = 900
_LONGEST_DELAY_SECONDS = 5.0
_REMEMBERED = 50_000


class FailedLogins:
    """Says who must wait. Bounded: the keys that failed longest ago are forgotten first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, ...], deque[datetime]] = OrderedDict()

    def check(self, account: str, address: str) -> float:
        """Return the seconds by which to delay the answer; TooMany while a pause lasts."""
        for key, free in (
            ((account, address), _PER_ACCOUNT_AND_ADDRESS),
            (("address", address), _PER_ADDRESS),
        ):
            recent = self._recent(key)
            if len(recent) > free - 1:
                pause = min(_LONGEST_PAUSE_SECONDS, 2 ** (len(recent) - free + 1))
                left = (recent[-1] + timedelta(seconds=pause) - self._clock()).total_seconds()
                if left > 0:
                    raise TooMany(
                        "Too many failed sign-ins. Please wait a little.",
                        retry_after_seconds=int(left) + 1,
                        code="too_many_failed_logins",
                    )
        over = len(self._recent(("account", account))) - _PER_ACCOUNT
        return min(_LONGEST_DELAY_SECONDS, max(0, over + 1) * 0.5)

    def failed(self, account: str, address: str) -> None:
        """Count a wrong password."""
        now = self._clock()
        for key in ((account, address), ("address", address), ("account", account)):
            self._failures.setdefault(key, deque(maxlen=1000)).append(now)
            self._failures.move_to_end(key)
        while len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, account: str, address: str) -> None:
        """Forget the failures of this account from this address."""
        self._failures.pop((account, address), None)

    def _recent(self, key: tuple[str, ...]) -> deque[datetime]:
        failures = self._failures.get(key)
        if failures is None:
            return deque()
        since = self._clock() - _WINDOW
        while failures and failures[0] < since:
            failures.popleft()
        return failures
