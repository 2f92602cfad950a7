"""One cluster as one user: the address, who the caller is, and what connections are made with."""

import base64
import os
import re
import ssl
import stat
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rdev_cli.domain.errors import Invalid, RdevError

FRESH = 60.0  # seconds that a token of a file is taken as it was read: kubelet writes a new one there long before the old one ends
TOKEN = re.compile(r"[\x21-\x7e]{1,65536}")


class Login:
    """Who the caller is to a cluster: what of it can change (a token in a file, the answer of a plugin) is looked at again.

    `headers` and `certificate` may read a file or run the plugin that the user consented to, so they may take up to 30 seconds.
    """

    def __init__(
        self,
        *,
        token: str = "",
        token_file: Path | None = None,
        basic: tuple[str, str] | None = None,
        certificate: tuple[bytes | Path, bytes | Path] | None = None,
        plugin: Mapping[str, Any] | None = None,
        acting: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._token, self._file, self._basic, self._certificate, self._plugin = token, token_file, basic, certificate, plugin
        self._acting = tuple(acting)
        self._lock = threading.Lock()
        self._read_at = -FRESH
        self._until = 0.0  # wall clock seconds to which a plugin's answer holds; 0: nothing asked yet
        self.changes = bool(token_file or plugin)

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers that say who calls."""
        with self._lock:
            self._renew()
            found = list(self._acting)
            if self._token:
                found.append(("Authorization", f"Bearer {self._token}"))
            elif self._basic:
                pair = base64.b64encode(":".join(self._basic).encode()).decode()
                found.append(("Authorization", f"Basic {pair}"))
            return found

    def certificate(self) -> tuple[bytes | Path, bytes | Path] | None:
        """Return certificate and key, each as PEM or as the file that it is in."""
        with self._lock:
            self._renew()
            return self._certificate

    def forget(self) -> None:
        """Look again at what can change: the server refused what was sent."""
        with self._lock:
            self._read_at, self._until = -FRESH, 0.0

    def _renew(self) -> None:
        if self._file is not None and time.monotonic() - self._read_at >= FRESH:
            try:
                self._token = _token_in(self._file)
            except RdevError:
                if not self._token:  # else the last one is tried on: a file is being replaced, and the server judges
                    raise
            self._read_at = time.monotonic()
        if self._plugin is not None and time.time() >= self._until - 10:
            from rdev_cli.adapters.kubernetes import plugin  # noqa: PLC0415 -- for those who have one

            answer = plugin.ask(self._plugin)
            self._until = answer.until
            self._token = answer.token
            if answer.certificate:
                self._certificate = answer.certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One cluster as one user, with the namespace and the context's name; the context is the one that was current at `load`."""

    server: str  # https://host:port and perhaps a path in front of the API's own
    namespace: str
    context: str = ""
    proxy: str = ""
    tls_server_name: str = ""
    authority: bytes | Path | None = field(default=None, repr=False)
    insecure: bool = False
    login: Login = field(repr=False)

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers that say who calls."""
        return self.login.headers()

    def tls(self) -> ssl.SSLContext | None:
        """Return what connections are made with, None for a plain one on the loopback."""
        if self.server.startswith("http:"):
            return None
        try:
            context = _context(self.authority)
            if self.insecure:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            pair = self.login.certificate()
            if pair is not None:
                _load_pair(context, *pair)
        except (ssl.SSLError, ValueError) as e:
            raise Invalid(
                f"a certificate of the context {self.context} cannot be read", hint="kubectl config view", field="kubeconfig"
            ) from e
        except OSError as e:
            raise Invalid(
                f"a certificate of the context {self.context} cannot be read: {e}", hint="kubectl config view", field="kubeconfig"
            ) from e
        return context


def _token_in(path: Path) -> str:
    """Return the one token that a file holds: anything else in it is somebody's file, and is sent to nobody."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            text = file.read(1 << 17).decode("ascii", "replace").strip() if stat.S_ISREG(os.fstat(fd).st_mode) else ""
    except OSError as e:
        raise Invalid(f"the token file {path} cannot be read: {e.strerror}", hint="kubectl config view", field="kubeconfig") from e
    if not TOKEN.fullmatch(text):
        raise Invalid(f"the token file {path} does not hold one token", hint="name the right file as tokenFile", field="kubeconfig")
    return text


def _context(authority: bytes | Path | None) -> ssl.SSLContext:
    if isinstance(authority, bytes):
        context = ssl.create_default_context(cadata=authority.decode("ascii"))
    else:
        context = ssl.create_default_context(cafile=authority)
    # the authorities of many clusters lack what Python 3.13 began to ask of one, and kubectl does not ask it
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load_pair(context: ssl.SSLContext, certificate: bytes | Path, key: bytes | Path) -> None:
    """Load a certificate and its key. OpenSSL reads files only, so what is no file becomes one that nobody else can open, for that moment."""
    if isinstance(certificate, Path) and isinstance(key, Path):
        context.load_cert_chain(certificate, key, password=_no_password)
    elif sys.platform == "linux":
        # a file in memory has no name: nothing is left however the process ends
        with _in_memory(certificate) as one, _in_memory(key) as other:
            context.load_cert_chain(f"/proc/self/fd/{one.fileno()}", f"/proc/self/fd/{other.fileno()}", password=_no_password)
    else:
        import tempfile  # noqa: PLC0415 -- costs more than all of TLS, and is not for Linux

        with tempfile.TemporaryDirectory(prefix="rdev-") as folder:  # 0700
            files = [Path(folder, name) for name in ("certificate", "key")]
            for file, material in zip(files, (certificate, key), strict=True):
                file.touch(0o600)
                file.write_bytes(material.read_bytes() if isinstance(material, Path) else material)
            context.load_cert_chain(*files, password=_no_password)


def _in_memory(material: bytes | Path) -> Any:
    if isinstance(material, Path):
        return material.open("rb")
    file = os.fdopen(os.memfd_create("rdev", os.MFD_CLOEXEC), "wb")
    file.write(material)
    file.flush()
    return file


def _no_password() -> str:
    """Stand for the password of a key: OpenSSL itself would ask on the terminal."""
    return ""
