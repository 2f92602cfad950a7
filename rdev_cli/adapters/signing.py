"""The Signing port: Ed25519 by cryptography."""

from base64 import b64decode, b64encode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from rdev_cli.domain.errors import Unavailable
from rdev_cli.domain.values import Secret


class Ed25519Signing:
    """Keys and signatures as base64 text."""

    def new_key(self) -> tuple[Secret, str]:
        made = Ed25519PrivateKey.generate()
        return Secret(_text(made.private_bytes_raw())), _text(made.public_key().public_bytes_raw())

    def public(self, key: Secret) -> str:
        return _text(_private(key).public_key().public_bytes_raw())

    def sign(self, key: Secret, data: bytes) -> str:
        return _text(_private(key).sign(data))

    def holds(self, public: str, signature: str, data: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(_bytes(public)).verify(_bytes(signature), data)
        except (InvalidSignature, ValueError):
            return False
        return True


def _private(key: Secret) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(_bytes(key.reveal()))
    except ValueError:
        # nothing of the value may stand in an error, and the library's own may hold it
        raise Unavailable(
            "what the vault keeps as the key of receipts is none", hint="restore the vault from a backup", code="VAULT_DAMAGED"
        ) from None


def _bytes(text: str) -> bytes:
    """Return the bytes of base64 that is written in the one way there is; ValueError for another, so that one signature has one text."""
    data = b64decode(text, validate=True)
    if _text(data) != text:
        raise ValueError("it is written in another way")
    return data


def _text(data: bytes) -> str:
    return b64encode(data).decode()
