"""The environment in which rdev finds a keyring that works; FAKE_KEYRING names the file with its entries."""

from pathlib import Path

FAKE = {"PYTHONPATH": str(Path(__file__).with_name("fake_keyring")), "PYTHON_KEYRING_BACKEND": "rdev_fake_keyring.Keyring"}
