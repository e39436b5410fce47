"""Failed logins, counted by (account, address), by address and by account. Never a lock.

The counts are shared between replicas where REDIS_URL is set.
"""

from prometheus_client import Counter

from coach_common.errors import TooManyRequests
from coach_common.sliding_window import SlidingWindowCounter

LOGINS_THROTTLED = Counter(
    "coach_auth_logins_throttled", "Logins rejected because of earlier failures.", ["scope"]
)

_WINDOW_SECONDS = 15 * 60
_ALLOWED_PER_ACCOUNT_AND_IP = 5
_ALLOWED_PER_IP = 29
_ALLOWED_PER_ACCOUNT = 99
_MAX_BACKOFF_SECONDS = 900
_DELAY_STEP_SECONDS = 0.5
_MAX_DELAY_SECONDS = 5.0


class LoginThrottle:
    """Says who must wait."""

    def __init__(self, counter: SlidingWindowCounter) -> None:
        self._counter = counter

    async def check(self, account: str, client_ip: str) -> float:
        """Return the seconds by which to delay the answer; TooMany while a pause lasts.

        Asked before the password is checked and again after it: of many attempts at once, those
        that end after the fifth failure are refused like the sixth, right or wrong. Counts in
        memory are read without giving way to another attempt, so that no two are the fifth.
        """
        pair, by_address, by_account = [
            await self._counter.count(key, window_seconds=_WINDOW_SECONDS)
            for key in _keys(account, client_ip)
        ]
        for scope, recent, allowed_failures in (
            ("account_and_ip", pair, _ALLOWED_PER_ACCOUNT_AND_IP),
            ("ip", by_address, _ALLOWED_PER_IP),
        ):
            if recent.count >= allowed_failures:
                # Above 10 the pause is the longest one anyway.
                backoff = min(
                    _MAX_BACKOFF_SECONDS, 2 ** min(10, recent.count - allowed_failures + 1)
                )
                if (remaining := backoff - recent.seconds_since_last) > 0:
                    LOGINS_THROTTLED.labels(scope).inc()
                    raise TooManyRequests(
                        "Too many failed sign-in attempts. Please try again later.",
                        retry_after_seconds=int(remaining) + 1,
                        code="too_many_failed_logins",
                    )
        over = by_account.count - _ALLOWED_PER_ACCOUNT
        return min(_MAX_DELAY_SECONDS, max(0, over + 1) * _DELAY_STEP_SECONDS)

    async def record_failure(self, account: str, client_ip: str) -> None:
        """Count a wrong password."""
        for key in _keys(account, client_ip):
            await self._counter.record(key, window_seconds=_WINDOW_SECONDS)

    async def record_success(self, account: str, client_ip: str) -> None:
        """Forget the failures of this account from this address."""
        await self._counter.reset(_keys(account, client_ip)[0])


def _keys(account: str, client_ip: str) -> tuple[str, str, str]:
    """Return what is counted; the account is a digest already, no e-mail goes to Redis."""
    return (
        f"failed:pair:{account}:{client_ip}",
        f"failed:address:{client_ip}",
        f"failed:account:{account}",
    )
