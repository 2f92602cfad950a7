"""Answers that may be told again to nobody but their caller: sealed under what the server never keeps."""

import os
from base64 import b64decode, b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from rdev_cli.domain.errors import Unavailable
from rdev_cli.domain.values import Secret

_INFO = b"rdev idempotency answer"


class Envelope:
    """Seals an answer under a caller's own key and the idempotency key of its request; of the first the server has a hash, of both nothing else."""

    def __init__(self, key: Secret, given: str) -> None:
        derived = HKDF(algorithm=SHA256(), length=32, salt=given.encode(), info=_INFO).derive(key.reveal().encode())
        self._cipher = AESGCM(derived)

    def seal(self, text: str) -> str:
        """Return a text as nobody else can read it."""
        nonce = os.urandom(12)
        return b64encode(nonce + self._cipher.encrypt(nonce, text.encode(), _INFO)).decode()

    def unseal(self, text: str) -> str:
        """Return what was sealed; Unavailable STATE_DAMAGED if that is not what is kept."""
        data = b64decode(text)
        try:
            return self._cipher.decrypt(data[:12], data[12:], _INFO).decode()
        except InvalidTag as e:
            raise Unavailable(
                "the answer kept under this idempotency key cannot be read", hint="ask under a new key", code="STATE_DAMAGED"
            ) from e
