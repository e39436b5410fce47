"""Signing keys, and keys derived from SECRET_KEY. The only module that signs with jwt."""

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import jwt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from jwt.algorithms import RSAAlgorithm

from coach_common.config import SettingsError
from coach_common.tokens import ALGORITHM, TOKEN_TYPE

_RSA_KEY_BITS = 2048
_NONCE_BYTES = 12
_JWK_FIELDS = ("kty", "n", "e")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An RSA key with its id."""

    kid: str
    private_key: RSAPrivateKey

    def sign(self, claims: Mapping[str, Any], *, token_type: str = TOKEN_TYPE) -> str:
        """Return a signed access token (RFC 9068), or another type of token."""
        headers = {"kid": self.kid, "typ": token_type}
        return jwt.encode(dict(claims), self.private_key, ALGORITHM, headers=headers)

    def jwk(self) -> dict[str, str]:
        """Return the public key as a JSON Web Key (RFC 7517)."""
        public = RSAAlgorithm.to_jwk(self.private_key.public_key(), as_dict=True)
        return {name: public[name] for name in _JWK_FIELDS} | {
            "use": "sig",
            "alg": ALGORITHM,
            "kid": self.kid,
        }


class KeyDerivation:
    """Derives one key per purpose from SECRET_KEY (HKDF with a label per purpose)."""

    def __init__(self, secret_key: str) -> None:
        self._secret = secret_key.encode()
        self._wrapping_cipher = AESGCM(self._derive("signing keys at rest"))
        self._successor_key = self._derive("refresh token successors")
        self._account_token_key = self._derive("account tokens")

    def new_signing_key(self) -> SigningKey:
        """Generate a key. Blocks for 100 ms or more."""
        private_key = generate_private_key(public_exponent=65537, key_size=_RSA_KEY_BITS)
        der = private_key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return SigningKey(hashlib.sha256(der).hexdigest()[:16], private_key)

    def wrap(self, key: SigningKey) -> str:
        """Return the private key encrypted with AES-256-GCM and bound to its id."""
        der = key.private_key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        nonce = os.urandom(_NONCE_BYTES)
        return base64.b64encode(
            nonce + self._wrapping_cipher.encrypt(nonce, der, key.kid.encode())
        ).decode()

    def unwrap(self, kid: str, wrapped: str) -> SigningKey:
        """Return the decrypted key. Raises SettingsError if SECRET_KEY does not match."""
        data = base64.b64decode(wrapped)
        try:
            der = self._wrapping_cipher.decrypt(
                data[:_NONCE_BYTES], data[_NONCE_BYTES:], kid.encode()
            )
        except InvalidTag:
            raise SettingsError(
                "setting SECRET_KEY: does not match the key that encrypted the signing keys"
            ) from None
        private_key = serialization.load_der_private_key(der, None)
        if not isinstance(private_key, RSAPrivateKey):
            raise SettingsError(f"signing key {kid} is not an RSA key")
        return SigningKey(kid, private_key)

    def derive_successor(self, refresh_token: str) -> str:
        """Return the successor of a refresh token. Every replica derives the same one."""
        digest = hmac.digest(
            self._successor_key, refresh_token.encode("utf-8", "surrogatepass"), hashlib.sha256
        )
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def derive_account_token(self, token_id: UUID) -> str:
        """Return the one-time token with this id. It is derived, so no table holds it."""
        digest = hmac.digest(self._account_token_key, token_id.bytes, hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def _derive(self, label: str) -> bytes:
        hkdf = HKDF(hashes.SHA256(), 32, salt=None, info=f"genai-coach {label}".encode())
        return hkdf.derive(self._secret)
