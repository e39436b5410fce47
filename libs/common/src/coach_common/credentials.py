"""Hashing and comparing secrets."""

import hashlib
import hmac


def token_digest(token: str) -> bytes:
    """Return the SHA-256 digest of a token, to store or look it up without keeping the token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def is_service_token(presented: str, expected: str) -> bool:
    """Compare a token with SERVICE_TOKEN in constant time. False if none is configured."""
    return bool(expected) and hmac.compare_digest(presented.encode(), expected.encode())
