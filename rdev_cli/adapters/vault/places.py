"""The Vaults port: the keyring where there is a real one, else a sealed file; a lock between processes."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rdev_cli.domain.errors import Conflict, RdevError
from rdev_cli.domain.report import Check, Verdict
from rdev_cli.domain.values import Secret
from rdev_cli.ports.timing import STANDARD, Stop

if TYPE_CHECKING:
    from rdev_cli.adapters.vault.sealed import SealedFile
    from rdev_cli.adapters.vault.system import SystemKeyring
    from rdev_cli.ports.vault import Vault


class Places:
    """The places of one context. `kind` is auto, keyring, file or passphrase; `passphrase` is asked (is it a new one?) when it is needed."""

    def __init__(
        self, folder: Path, *, kind: str, installation: str, context: str, passphrase: Callable[[bool], Secret], stop: Stop
    ) -> None:
        self._folder, self._kind, self._passphrase, self._stop = folder, kind, passphrase, stop
        self._bound_to = installation, context

    @cached_property
    def _keyring(self) -> "SystemKeyring":
        from rdev_cli.adapters.vault.system import SystemKeyring  # noqa: PLC0415 -- only where it is used

        return SystemKeyring(service="/".join(("rdev", *self._bound_to)), stop=self._stop)

    @cached_property
    def _file(self) -> "SealedFile":
        from rdev_cli.adapters.vault.sealed import SealedFile  # noqa: PLC0415 -- loads cryptography

        kind = "passphrase" if self._kind == "passphrase" else "file"
        return SealedFile(self._folder, kind=kind, bound_to=self._bound_to, passphrase=self._passphrase)

    def chosen(self) -> "Vault":
        if self._kind == "keyring" or (self._kind == "auto" and self._keyring.usable()[0]):
            return self._keyring
        found = self._file.place
        if self._kind not in ("auto", found):
            was = "a passphrase" if found == "passphrase" else "a key in a file"
            raise Conflict(
                f"{self._file.path} is sealed by {was}, and this context wants {self._kind}",
                hint=f"remove what it holds first (rdev credential list), or go back: rdev context set {self._bound_to[1]} --vault {found}",
                code="VAULT_SEALED",
                path=str(self._file.path),
            )
        return self._file

    def at(self, place: str) -> "Vault":
        return self._keyring if place == "keyring" else self._file

    @contextmanager
    def alone(self) -> Iterator[None]:
        # a lock that the system takes back from whoever is killed
        fd = os.open(self._folder / "vault.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            end = time.monotonic() + STANDARD
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as e:
                    if time.monotonic() > end:
                        raise Conflict("another process is changing credentials", hint="try again when it is done", code="BUSY") from e
                    if self._stop.wait(0.02):
                        self._stop.check("the change of credentials")
            yield
        finally:
            os.close(fd)

    def checks(self) -> Sequence[Check]:
        usable, words = self._keyring.usable() if self._kind in ("auto", "keyring") else (False, "")
        if usable:
            found = [Check(name="vault.place", verdict=Verdict.OK, found=f"the system's keyring: {words}")]
        elif self._kind == "keyring":
            hint = f"start it, or keep credentials in a file: rdev context set {self._bound_to[1]} --vault file"
            found = [Check(name="vault.place", verdict=Verdict.FAILED, found=f"there is no keyring here: {words}", hint=hint)]
        else:
            found = [self._sealed(f"; there is no keyring here: {words}" if words else "")]
        key = self._file.key_path
        if key.exists():
            open_ = os.stat(key).st_mode & 0o077
            found.append(
                Check(
                    name="vault.key",
                    verdict=Verdict.FAILED if open_ else Verdict.OK,
                    found=f"{key} can be read by others" if open_ else str(key),
                    hint=f"chmod 600 {key}, and think of what it seals as known" if open_ else "",
                )
            )
        return found

    def _sealed(self, why: str) -> Check:
        try:
            how = "a passphrase" if self.chosen().place == "passphrase" else f"the key in {self._file.key_path.name}"
        except RdevError as e:
            return Check(name="vault.place", verdict=Verdict.FAILED, found=e.message, hint=e.hint)
        return Check(name="vault.place", verdict=Verdict.OK, found=f"{self._file.path}, sealed by {how}{why}")
