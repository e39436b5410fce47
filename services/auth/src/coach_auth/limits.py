"""Failed logins, counted by (account, address), by address and by account. Never a lock.

The counts are shared between replicas where REDIS_URL is set.
"""

from prometheus_client import Counter

from coach_common.counts import Counts
from coach_common.errors import TooMany

PAUSED = Counter("coach_auth_logins_paused", "Sign-ins refused after failed ones.", ["by"])

_WINDOW_SECONDS = 15 * 60
_PER_ACCOUNT_AND_ADDRESS = 5
_PER_ADDRESS = 29
_PER_ACCOUNT = 99
_LONGEST_PAUSE_SECONDS = 900
_DELAY_STEP_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 5.0


class FailedLogins:
    """Says who must wait."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    async def check(self, account: str, address: str) -> float:
        """Return the seconds by which to delay the answer; TooMany while a pause lasts.

        Asked before the password is checked and again after it: of many attempts at once, those
        that end after the fifth failure are refused like the sixth, right or wrong. Counts in
        memory are read without giving way to another attempt, so that no two are the fifth.
        """
        pair, by_address, by_account = [
            await self._counts.recent(key, window_seconds=_WINDOW_SECONDS)
            for key in _keys(account, address)
        ]
        for by, recent, free in (
            ("account and address", pair, _PER_ACCOUNT_AND_ADDRESS),
            ("address", by_address, _PER_ADDRESS),
        ):
            if recent.number >= free:
                # Above 10 the pause is the longest one anyway.
                pause = min(_LONGEST_PAUSE_SECONDS, 2 ** min(10, recent.number - free + 1))
                if (left := pause - recent.seconds_since) > 0:
                    PAUSED.labels(by).inc()
                    raise TooMany(
                        "Too many failed sign-ins. Please wait a little.",
                        retry_after_seconds=int(left) + 1,
                        code="too_many_failed_logins",
                    )
        over = by_account.number - _PER_ACCOUNT
        return min(_LONGEST_DELAY_SECONDS, max(0, over + 1) * _DELAY_STEP_SECONDS)

    async def failed(self, account: str, address: str) -> None:
        """Count a wrong password."""
        for key in _keys(account, address):
            await self._counts.note(key, window_seconds=_WINDOW_SECONDS)

    async def succeeded(self, account: str, address: str) -> None:
        """Forget the failures of this account from this address."""
        await self._counts.forget(_keys(account, address)[0])


def _keys(account: str, address: str) -> tuple[str, str, str]:
    """Return what is counted; the account is a digest already, no e-mail goes to Redis."""
    return (
        f"failed:pair:{account}:{address}",
        f"failed:address:{address}",
        f"failed:account:{account}",
    )
