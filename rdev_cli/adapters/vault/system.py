"""Values in the system's keyring, which the desktop unlocks with the user's login."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from rdev_cli.adapters.shared.bounded import within
from rdev_cli.domain.errors import Cancelled, RdevError, Unavailable
from rdev_cli.domain.values import Secret
from rdev_cli.ports.timing import FAST_LOOKUP, STANDARD, Stop

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

T = TypeVar("T")

# these keep nothing, or keep it as plain text or in a way of their own
_NOT_REAL = ("keyring.backends.fail", "keyring.backends.null", "keyrings.alt")


class SystemKeyring:
    """The first backend of the package keyring that really keeps secrets, asked for when first used."""

    place = "keyring"

    def __init__(self, *, service: str, stop: Stop) -> None:
        self._service, self._stop = service, stop
        self._found: tuple[KeyringBackend | None, str] | None = None

    def usable(self) -> tuple[bool, str]:
        """Say whether there is a keyring here, and which one, or why not."""
        backend, words = self._look()
        return backend is not None, words

    def put(self, values: Mapping[str, Secret]) -> None:
        before: dict[str, Secret | None] = {}
        try:
            for name, value in values.items():
                before[name] = self.get(name)
                self._ask(lambda backend, name=name, value=value: backend.set_password(self._service, name, value.reveal()))  # type: ignore[misc]
        except RdevError:
            for name, old in before.items():
                if old is None:
                    self.drop(name)
                else:
                    self._ask(lambda backend, name=name, old=old: backend.set_password(self._service, name, old.reveal()))  # type: ignore[misc]
            raise

    def get(self, name: str) -> Secret | None:
        found = self._ask(lambda backend: backend.get_password(self._service, name))
        return None if found is None else Secret(found)

    def holds(self, name: str) -> bool:
        return self.get(name) is not None

    def drop(self, name: str) -> None:
        if self.holds(name):
            self._ask(lambda backend: backend.delete_password(self._service, name))

    def _ask(self, call: "Callable[[KeyringBackend], T]") -> T:
        backend, words = self._look()
        if backend is None:
            raise Unavailable(
                f"there is no keyring here: {words}",
                hint="start the desktop's keyring, or keep credentials in a file: rdev context set NAME --vault file",
                code="VAULT_LOCKED",
            )
        try:
            return within(STANDARD, lambda: call(backend), what="the keyring", stop=self._stop)
        except Cancelled:
            raise
        except RdevError as e:
            hint = "unlock it, or keep credentials in a file: rdev context set NAME --vault file"
            raise Unavailable(e.message, hint=hint, code="VAULT_LOCKED") from e

    def _look(self) -> "tuple[KeyringBackend | None, str]":
        if self._found is None:
            try:
                self._found = within(FAST_LOOKUP, _first_real, what="the keyring", stop=self._stop)
            except Cancelled:
                raise
            except RdevError as e:
                self._found = None, e.message
        return self._found


def _first_real() -> "tuple[KeyringBackend | None, str]":
    """Return the backend to use and its name; a chain is not used itself, as it may end in one that keeps plain text."""
    import keyring  # noqa: PLC0415 -- slow to load
    from keyring.backends.chainer import ChainerBackend  # noqa: PLC0415

    chosen = keyring.get_keyring()
    backends = chosen.backends if isinstance(chosen, ChainerBackend) else [chosen]
    for backend in backends:
        kind = type(backend)
        if not kind.__module__.startswith(_NOT_REAL):
            return backend, f"{kind.__module__}.{kind.__qualname__}"
    return None, f"{type(chosen).__module__} keeps no secrets"
