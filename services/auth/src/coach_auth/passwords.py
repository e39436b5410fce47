"""Hash and verify passwords with bcrypt, in a bounded thread pool.

bcrypt ignores everything after 72 bytes, so its input is base64(HMAC-SHA-384(password)) and all
characters count (OWASP Password Storage Cheat Sheet). The HMAC key is a domain separator, not a
secret.
"""

import asyncio
import base64
import hashlib
import hmac
import os
import sys
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files
from typing import TypeVar

import bcrypt
from prometheus_client import Counter, Gauge

from coach_common.errors import Unavailable

T = TypeVar("T")

HASHES_IN_FLIGHT = Gauge(
    "coach_auth_password_hashes_in_flight", "Password hashes running or queued."
)
HASHES_REJECTED = Counter(
    "coach_auth_password_hashes_rejected", "Password hashes rejected because the queue was full."
)

_HMAC_KEY = b"genai-coach password v1"
_MAX_QUEUED_PER_THREAD = 16
_RETRY_AFTER_SECONDS = 5
_THREAD_NICENESS = 10


class PasswordHasher:
    """Hashes and verifies passwords. Raises Unavailable if its queue is full."""

    def __init__(self, cost: int) -> None:
        self._cost = cost
        threads = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
        self._executor = ThreadPoolExecutor(
            threads, thread_name_prefix="bcrypt", initializer=_lower_thread_priority
        )
        self.max_in_flight = threads * (1 + _MAX_QUEUED_PER_THREAD)
        self._in_flight = 0
        self._dummy_hash = bcrypt.hashpw(_prehash("dummy"), bcrypt.gensalt(cost))
        self.check_count = 0

    async def hash(self, password: str) -> str:
        """Return the hash to store."""
        return await self._run(lambda: self._hash(password))

    async def check(self, password: str, password_hash: str | None) -> bool:
        """Return True if the password is right.

        `password_hash` None (no such account) returns False after the same work.
        """
        stored = self._dummy_hash if password_hash is None else password_hash.encode()
        is_right = await self._run(lambda: bcrypt.checkpw(_prehash(password), stored))
        self.check_count += 1
        return is_right and password_hash is not None

    async def close(self) -> None:
        """Stop the threads."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _hash(self, password: str) -> str:
        return bcrypt.hashpw(_prehash(password), bcrypt.gensalt(self._cost)).decode()

    async def _run(self, work: Callable[[], T]) -> T:
        if self._in_flight >= self.max_in_flight:
            HASHES_REJECTED.inc()
            raise Unavailable(
                "Too many people are signing in. Please try again.",
                retry_after_seconds=_RETRY_AFTER_SECONDS,
            )
        self._in_flight += 1
        HASHES_IN_FLIGHT.inc()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._in_flight -= 1
            HASHES_IN_FLIGHT.dec()


def is_common_password(password: str) -> bool:
    """Return True if the password is among the most common ones, ignoring case (ASVS 6.2.4)."""
    return unicodedata.normalize("NFC", password).casefold() in _common_passwords()


@cache
def _common_passwords() -> frozenset[str]:
    return frozenset((files("coach_auth") / "common_passwords.txt").read_text("utf-8").splitlines())


def _lower_thread_priority() -> None:
    """Let short requests run first: a hash takes a core for a third of a second."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _THREAD_NICENESS)


def _prehash(password: str) -> bytes:
    text = unicodedata.normalize("NFC", password).encode()
    return base64.b64encode(hmac.digest(_HMAC_KEY, text, hashlib.sha384))
