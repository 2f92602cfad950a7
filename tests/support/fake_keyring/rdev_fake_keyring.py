"""Keyrings for tests, named by PYTHON_KEYRING_BACKEND: entries stand in the JSON file that FAKE_KEYRING names."""

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked


class Keyring(KeyringBackend):
    """One that works."""

    priority = 5

    @property
    def _file(self) -> Path:
        return Path(os.environ["FAKE_KEYRING"])

    def _all(self) -> dict:
        return json.loads(self._file.read_text()) if self._file.exists() else {}

    def get_password(self, service, username):
        return self._all().get(f"{service} {username}")

    def set_password(self, service, username, password):
        self._file.write_text(json.dumps({**self._all(), f"{service} {username}": password}))

    def delete_password(self, service, username):
        self._file.write_text(json.dumps({key: value for key, value in self._all().items() if key != f"{service} {username}"}))


class Locked(Keyring):
    """One that nobody unlocks, and whose error tells what it was given."""

    def get_password(self, service, username):
        raise KeyringLocked(f"cannot read {self._all()}")

    def set_password(self, service, username, password):
        raise KeyringLocked(f"cannot keep {password}")


class Stuck(Keyring):
    """One that takes everything, and of a second service gives nothing back."""

    def delete_password(self, service, username):
        if service.endswith("/other"):
            raise KeyringLocked(f"cannot remove {self._all()}")
        super().delete_password(service, username)


class Half(Keyring):
    """One that keeps two entries, and then no more."""

    def set_password(self, service, username, password):
        if len(self._all()) >= 2 and f"{service} {username}" not in self._all():
            raise RuntimeError(f"no room for {password}")
        super().set_password(service, username, password)
