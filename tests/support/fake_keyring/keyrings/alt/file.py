"""Stands for keyrings.alt's file of plain text, which rdev must never use."""

from rdev_fake_keyring import Keyring


class PlaintextKeyring(Keyring):
    """Keeps plain text."""
