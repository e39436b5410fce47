"""Passwords as bcrypt hashes, made in a bounded pool of threads of their own.

bcrypt stops at 72 bytes, so it is given base64(HMAC-SHA-384(password)): all characters count
(OWASP Password Storage Cheat Sheet). The HMAC's key separates domains; it is no secret.
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

WAITING = Gauge("coach_auth_password_checks", "Password checks running or waiting.")
REFUSED = Counter("coach_auth_password_checks_refused", "Password checks beyond the bound.")

_DOMAIN = b"genai-coach password v1"
_WAITING_PER_THREAD = 16
_RETRY_SECONDS = 5
_NICE = 10


class Passwords:
    """Hashes and checks. A burst beyond the bound is Unavailable rather than an endless queue."""

    def __init__(self, cost: int) -> None:
        self._cost = cost
        threads = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(
            threads, thread_name_prefix="bcrypt", initializer=_give_way
        )
        self.bound = threads * (1 + _WAITING_PER_THREAD)
        self._under_way = 0
        self._nobody = bcrypt.hashpw(_prehash("nobody"), bcrypt.gensalt(cost))
        self.checks = 0

    async def hash(self, password: str) -> str:
        """Return the hash to store."""
        return await self._run(lambda: self._hash(password))

    async def check(self, password: str, password_hash: str | None) -> bool:
        """Tell whether the password is right; None (no such account) costs as much and is false."""
        stored = self._nobody if password_hash is None else password_hash.encode()
        is_right = await self._run(lambda: bcrypt.checkpw(_prehash(password), stored))
        self.checks += 1
        return is_right and password_hash is not None

    async def close(self) -> None:
        """Give back the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _hash(self, password: str) -> str:
        return bcrypt.hashpw(_prehash(password), bcrypt.gensalt(self._cost)).decode()

    async def _run(self, work: Callable[[], T]) -> T:
        if self._under_way >= self.bound:
            REFUSED.inc()
            raise Unavailable(
                "Too many people are signing in. Please try again.",
                retry_after_seconds=_RETRY_SECONDS,
            )
        self._under_way += 1
        WAITING.inc()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._under_way -= 1
            WAITING.dec()


def is_common(password: str) -> bool:
    """Tell whether a password is one of the most common ones, whatever its case (ASVS 6.2.4)."""
    return unicodedata.normalize("NFC", password).casefold() in _common_passwords()


@cache
def _common_passwords() -> frozenset[str]:
    return frozenset((files("coach_auth") / "common_passwords.txt").read_text("utf-8").splitlines())


def _give_way() -> None:
    """A hash takes a core for a third of a second: whatever takes milliseconds goes first."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _prehash(password: str) -> bytes:
    text = unicodedata.normalize("NFC", password).encode()
    return base64.b64encode(hmac.digest(_DOMAIN, text, hashlib.sha384))
