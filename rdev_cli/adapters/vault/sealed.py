"""Values in a file of the context, each sealed by AES-GCM: under a key in a file beside it, or under a passphrase."""

import json
import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from rdev_cli.adapters.shared.files import write_whole
from rdev_cli.domain.errors import Conflict, Denied, Invalid, RdevError, Unavailable
from rdev_cli.domain.values import Secret

VERSION = 1
_KEY, _NONCE, _SALT = 32, 12, 16  # bytes
_SCRYPT = {"n": 1 << 17, "r": 8, "p": 1}  # 128 MiB, and about half a second
_SCRYPT_MOST = {"n": 1 << 18, "r": 16, "p": 4}  # a file that asks for more would only keep the machine busy
_CHECK = b"rdev"  # sealed beside the entries, so that a wrong key is told from a damaged entry


class SealedFile:
    """`vault.json` of a context. `kind` (file or passphrase) is how a new one is sealed; one that is there says how it is."""

    def __init__(self, folder: Path, *, kind: str, bound_to: tuple[str, str], passphrase: Callable[[bool], Secret]) -> None:
        self.path, self.key_path = folder / "vault.json", folder / "vault.key"
        self._kind, self._bound_to, self._passphrase = kind, bound_to, passphrase
        self._derived: tuple[Any, bytes] | None = None  # (of which seal, key): a passphrase is asked for once

    @property
    def place(self) -> str:
        data = self._read()
        return self._kind if data is None else _kind(data)

    def put(self, values: Mapping[str, Secret]) -> None:
        data = self._read()
        data, key = self._made() if data is None else (data, self._key(data))
        for name, value in values.items():
            data["entries"][name] = self._seal(key, name, value.reveal().encode())
        self._write(data)

    def get(self, name: str) -> Secret | None:
        data = self._read()
        if data is None or name not in data["entries"]:
            return None
        try:
            return Secret(self._open(self._key(data), name, data["entries"][name]).decode())
        except (InvalidTag, ValueError, TypeError, KeyError) as e:
            raise Unavailable(
                f"the entry {name} of {self.path} was changed since rdev wrote it",
                hint=f"restore the file from a backup, or set the value again: rdev credential set {name}",
                code="VAULT_DAMAGED",
                path=str(self.path),
            ) from e

    def holds(self, name: str) -> bool:
        data = self._read()
        return data is not None and name in data["entries"]

    def drop(self, name: str) -> None:
        data = self._read()
        if data is None or data["entries"].pop(name, None) is None:
            return
        if data["entries"]:
            self._write(data)
        else:
            self.path.unlink()  # empty, it would only hold whoever wants another seal to this one

    def _read(self) -> dict[str, Any] | None:
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as e:
            raise self._unreadable(self.path, e.strerror or "") from e
        with os.fdopen(fd, "rb") as file:
            try:
                if os.fstat(fd).st_mode & 0o077:
                    os.fchmod(fd, 0o600)
                data = json.loads(file.read())
                if type(data["version"]) is int and data["version"] > VERSION:
                    raise Conflict(
                        f"{self.path} was written by a newer rdev",
                        hint="install the newer version: pip install --upgrade rdev",
                        code="STATE_NEWER",
                    )
                if data["version"] != VERSION or _kind(data) not in ("file", "passphrase") or not isinstance(data["entries"], dict):
                    raise ValueError("it is no vault")
            except (OSError, ValueError, KeyError, TypeError, RecursionError) as e:
                raise self._unreadable(self.path, "it is not what rdev wrote") from e
        return data  # type: ignore[no-any-return]

    def _write(self, data: Mapping[str, Any]) -> None:
        write_whole(self.path, json.dumps(data, sort_keys=True, indent=1).encode() + b"\n")

    def _made(self) -> tuple[dict[str, Any], bytes]:
        """Return a new vault with its key; the file with the key is kept before anything is sealed under it."""
        seal: dict[str, Any] = {"kind": self._kind}
        if self._kind == "file":
            if not os.path.lexists(self.key_path):
                write_whole(self.key_path, os.urandom(_KEY))
            key = self._key_file()
        else:
            seal["scrypt"] = {**_SCRYPT, "salt": _text(os.urandom(_SALT))}
            key = self._derive(seal, new=True)
        return {"version": VERSION, "seal": seal, "check": self._seal(key, "", _CHECK), "entries": {}}, key

    def _key(self, data: Mapping[str, Any]) -> bytes:
        """Return the key of a vault, proved by its check entry."""
        by_passphrase = _kind(data) == "passphrase"
        key = self._derive(data["seal"]) if by_passphrase else self._key_file()
        try:
            if self._open(key, "", data["check"]) == _CHECK:
                return key
        except (InvalidTag, ValueError, TypeError, KeyError):
            pass
        if by_passphrase:
            raise Denied("the passphrase is wrong", hint="try again; nothing was changed", code="WRONG_PASSPHRASE", path=str(self.path))
        raise self._unreadable(self.key_path, f"it does not open {self.path.name}: one of the two is damaged, or of another time or place")

    def _key_file(self) -> bytes:
        try:
            key = read_private(self.key_path, _KEY + 1)
        except FileNotFoundError as e:
            raise self._unreadable(self.key_path, "it is gone") from e
        if len(key) != _KEY:
            raise self._unreadable(self.key_path, f"it does not hold {_KEY} bytes")
        return key

    def _derive(self, seal: Mapping[str, Any], *, new: bool = False) -> bytes:
        if self._derived is None or self._derived[0] != seal:
            try:
                asked = {name: int(seal["scrypt"][name]) for name in _SCRYPT}
                if any(not 1 <= asked[name] <= most for name, most in _SCRYPT_MOST.items()):
                    raise ValueError("it asks for too much")
                function = Scrypt(salt=b64decode(seal["scrypt"]["salt"], validate=True), length=_KEY, **asked)
            except (ValueError, KeyError, TypeError) as e:
                raise self._unreadable(self.path, "it is not what rdev wrote") from e
            self._derived = seal, function.derive(self._passphrase(new).reveal().encode())
        return self._derived[1]

    def _bound(self, name: str) -> bytes:
        """Return what an entry is bound to: moved to another name, context or installation, it does not open."""
        return json.dumps(["rdev vault", VERSION, *self._bound_to, name]).encode()

    def _seal(self, key: bytes, name: str, value: bytes) -> dict[str, str]:
        nonce = os.urandom(_NONCE)
        return {"nonce": _text(nonce), "sealed": _text(AESGCM(key).encrypt(nonce, value, self._bound(name)))}

    def _open(self, key: bytes, name: str, entry: Mapping[str, str]) -> bytes:
        nonce, sealed = (b64decode(entry[part], validate=True) for part in ("nonce", "sealed"))
        return AESGCM(key).decrypt(nonce, sealed, self._bound(name))

    def _unreadable(self, path: Path, why: str) -> RdevError:
        return Unavailable(
            f"cannot open the vault with {path}: {why}",
            hint=f"restore it from a backup, or move {self.path} away and set each credential again: rdev credential list",
            code="VAULT_DAMAGED",
            path=str(path),
        )


def _kind(data: Mapping[str, Any]) -> str:
    return str(data["seal"]["kind"])


def _text(data: bytes) -> str:
    return b64encode(data).decode()


def read_private(path: Path, most: int) -> bytes:
    """Return at most that many bytes of a file with a secret; Denied VAULT_UNSAFE if others can read it, FileNotFoundError if it is not there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            if stat.S_ISREG(found.st_mode) and found.st_mode & 0o077:  # a pipe's mode says nothing
                raise Denied(
                    f"{path} can be read by others",
                    hint=f"chmod 600 {path}, and think of its secret as known",
                    code="VAULT_UNSAFE",
                    path=str(path),
                )
            return file.read(most)
    except FileNotFoundError:
        raise
    except OSError as e:
        raise Unavailable(f"cannot read {path}: {e.strerror}", hint="give the right to read it", path=str(path)) from e


def passphrase_in(path: Path) -> Secret:
    """Return the passphrase that a file holds, without the newline at its end."""
    try:
        data = read_private(path, 1 << 12)
    except FileNotFoundError as e:
        raise Invalid(
            f"there is no file {path}", hint="--passphrase-file FILE names one that holds the passphrase", field="passphrase-file"
        ) from e
    try:
        text = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise Invalid(f"{path} holds no passphrase", hint="one line of text in UTF-8 is expected", field="passphrase-file")
    return Secret(text)
