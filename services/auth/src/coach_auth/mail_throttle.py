"""Limits on mails, and on guesses of the tokens in them.

Replicas share the counts if REDIS_URL is set.
"""

from uuid import UUID

from coach_auth.domain import MailTemplate
from coach_auth.sliding_window import SlidingWindowCounter
from coach_common.errors import TooManyRequests

_HOUR_SECONDS = 3600
_DAY_SECONDS = 24 * _HOUR_SECONDS
_TOKEN_WINDOW_SECONDS = 15 * 60
_MAX_MAILS_PER_RECIPIENT_AND_HOUR = 3
_MAX_RESET_REQUESTS_PER_IP_AND_HOUR = 20
_MAX_INVALID_TOKENS_PER_IP = 20
_MAX_EMAIL_CHANGES_PER_DAY = 5


class MailThrottle:
    """Counts mails by recipient, requests by address and e-mail changes by user."""

    def __init__(self, counter: SlidingWindowCounter) -> None:
        self._counter = counter

    async def take_mail(self, template: MailTemplate, recipient_digest: str) -> bool:
        """Count a mail to a recipient. Returns False over the limit.

        The caller then sends no mail and no error: the limit belongs to the recipient. Each
        template has its own count, so the limit on password resets does not reveal an account.
        """
        key = f"mail:{template}:{recipient_digest}"
        return await self._take(key, _MAX_MAILS_PER_RECIPIENT_AND_HOUR, _HOUR_SECONDS)

    async def take_reset_request(self, client_ip: str) -> None:
        """Count a password reset request of an address. Raises TooManyRequests over the limit."""
        key = f"reset:address:{client_ip}"
        if not await self._take(key, _MAX_RESET_REQUESTS_PER_IP_AND_HOUR, _HOUR_SECONDS):
            raise TooManyRequests(
                "Too many requests for password resets. Please try again later.",
                retry_after_seconds=_HOUR_SECONDS,
            )

    async def take_email_change(self, user_id: UUID) -> None:
        """Count an e-mail change of a user. Raises TooManyRequests over the limit."""
        key = f"email:change:{user_id}"
        if not await self._take(key, _MAX_EMAIL_CHANGES_PER_DAY, _DAY_SECONDS):
            raise TooManyRequests(
                "The e-mail address was changed too often. Please try again tomorrow.",
                retry_after_seconds=_DAY_SECONDS,
            )

    async def check_token_guesses(self, client_ip: str) -> None:
        """Raise TooManyRequests if an address sent too many invalid tokens."""
        recent = await self._counter.count(
            f"token:address:{client_ip}", window_seconds=_TOKEN_WINDOW_SECONDS
        )
        if recent.count >= _MAX_INVALID_TOKENS_PER_IP:
            raise TooManyRequests(
                "Too many invalid links or codes. Please try again later.",
                retry_after_seconds=_TOKEN_WINDOW_SECONDS,
            )

    async def record_invalid_token(self, client_ip: str) -> None:
        """Count an invalid token of an address."""
        await self._counter.record(
            f"token:address:{client_ip}", window_seconds=_TOKEN_WINDOW_SECONDS
        )

    async def _take(self, key: str, limit: int, window_seconds: int) -> bool:
        if (await self._counter.count(key, window_seconds=window_seconds)).count >= limit:
            return False
        await self._counter.record(key, window_seconds=window_seconds)
        return True
