"""What rdev asks of whoever can sign."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rdev_cli.domain.values import Secret


class Signing(Protocol):
    """Ed25519 on whole texts: keys and signatures are base64, the private half 32 bytes that only the vault keeps."""

    def new_key(self) -> tuple[Secret, str]:
        """Return a fresh private key and its public half."""
        ...

    def public(self, key: Secret) -> str:
        """Return the public half of a private key; Unavailable VAULT_DAMAGED if it is none."""
        ...

    def sign(self, key: Secret, data: bytes) -> str:
        """Return the signature of data."""
        ...

    def holds(self, public: str, signature: str, data: bytes) -> bool:
        """Say whether a signature is that of this data by the other half of a public key; False for whatever is no key or no signature."""
        ...
