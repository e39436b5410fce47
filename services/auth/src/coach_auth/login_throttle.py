"""Throttle for failed logins, counted per (account, address), per address and per account.

An account is never locked. Replicas share the counts if REDIS_URL is set.
"""

from prometheus_client import Counter

from coach_auth.sliding_window import SlidingWindowCounter
from coach_common.errors import TooManyRequests

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
    """Decides whether a login attempt must wait."""

    def __init__(self, counter: SlidingWindowCounter) -> None:
        self._counter = counter

    async def check(self, account: str, client_ip: str) -> float:
        """Return the delay in seconds to apply before responding.

        Called before and after password verification: of many concurrent attempts, those that
        finish after the fifth failure are rejected too, even with the right password. In-memory
        counts are read without an `await` in between, so two attempts cannot both be the fifth.

        Raises:
            TooManyRequests: During a backoff.
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
                # From 10 on the backoff is the longest one.
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
        """Reset the failures of this account from this address."""
        await self._counter.reset(_keys(account, client_ip)[0])


def _keys(account: str, client_ip: str) -> tuple[str, str, str]:
    """Return the counter keys. `account` is a digest, so Redis gets no e-mail address."""
    return (
        f"failed:pair:{account}:{client_ip}",
        f"failed:address:{client_ip}",
        f"failed:account:{account}",
    )
