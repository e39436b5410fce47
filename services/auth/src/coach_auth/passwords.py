"""Hash and verify passwords with bcrypt, in a bounded thread pool.

bcrypt ignores everything after 72 bytes, so its input is base64(HMAC-SHA-384(password)) and all
characters count (OWASP Password Storage Cheat Sheet). The HMAC key is a domain separator, not a
secret.
"""

import base64
import hashlib
import hmac
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files

import bcrypt
from prometheus_client import Counter

from coach_auth.domain import UNUSABLE_PASSWORD_HASH, normalize_password
from coach_auth.hash_queue import HashOwner, HashQueue

HASHES = Counter("coach_auth_password_hashes", "Password hashes computed.", ["operation"])

_HMAC_KEY = b"genai-coach password v1"
_MAX_WAITING_PER_THREAD = 17
_THREAD_NICENESS = 10


class PasswordHasher:
    """Hashes and verifies passwords. Raises Unavailable if its queue is full."""

    def __init__(self, cost: int) -> None:
        self._cost = cost
        threads = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
        self._executor = ThreadPoolExecutor(
            threads, thread_name_prefix="bcrypt", initializer=_lower_thread_priority
        )
        self.threads = threads
        self.queue = HashQueue(
            self._executor, threads=threads, max_waiting=threads * _MAX_WAITING_PER_THREAD
        )
        self._dummy_hash = bcrypt.hashpw(_prehash("dummy"), bcrypt.gensalt(cost))

    async def hash(self, password: str, owner: HashOwner) -> str:
        """Return the hash to store."""
        hashed = await self.queue.run(owner, lambda: self._hash(password))
        HASHES.labels("hash").inc()
        return hashed

    async def check(self, password: str, password_hash: str | None, owner: HashOwner) -> bool:
        """Return True if the password is right.

        `password_hash` None (no such account) returns False after the same work.
        """
        has_hash = password_hash not in (None, UNUSABLE_PASSWORD_HASH)
        stored = (password_hash or "").encode() if has_hash else self._dummy_hash
        is_right = await self.queue.run(owner, lambda: bcrypt.checkpw(_prehash(password), stored))
        HASHES.labels("check").inc()
        return is_right and has_hash

    async def close(self) -> None:
        """Stop the threads."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _hash(self, password: str) -> str:
        return bcrypt.hashpw(_prehash(password), bcrypt.gensalt(self._cost)).decode()


def is_common_password(password: str) -> bool:
    """Return True if the password is among the most common ones, ignoring case (ASVS 6.2.4)."""
    return normalize_password(password).casefold() in _common_passwords()


@cache
def _common_passwords() -> frozenset[str]:
    return frozenset((files("coach_auth") / "common_passwords.txt").read_text("utf-8").splitlines())


def _lower_thread_priority() -> None:
    """Let short requests run first: a hash takes a core for a third of a second."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _THREAD_NICENESS)


def _prehash(password: str) -> bytes:
    text = normalize_password(password).encode()
    return base64.b64encode(hmac.digest(_HMAC_KEY, text, hashlib.sha384))
