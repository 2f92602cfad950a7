"""The vault: sealed entries that were tampered with, keys that others can read, keyrings that are none. T-SEC-5, 6, 7."""

import json
import os
import stat
import subprocess
import sys
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from rdev_cli.adapters.shared.bounded import within
from rdev_cli.adapters.vault import system
from rdev_cli.adapters.vault.places import Places
from rdev_cli.adapters.vault.sealed import SealedFile, passphrase_in
from rdev_cli.domain.errors import Cancelled, Conflict, Denied, Invalid, RdevError, TimedOut, Unavailable
from rdev_cli.domain.values import Secret
from rdev_cli.ports.timing import Stop

SUPPORT = Path(__file__).parents[1] / "support" / "fake_keyring"
VALUES = {"A": Secret("canary-a"), "B": Secret("canary-b")}


def sealed(folder: Path, *, kind: str = "file", bound_to: tuple[str, str] = ("i", "local"), word: str = "word") -> SealedFile:
    return SealedFile(folder, kind=kind, bound_to=bound_to, passphrase=lambda _: Secret(word))


def no_passphrase(new: bool) -> Secret:
    raise AssertionError("nobody was to be asked")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sealed(tmp_path).put(VALUES)
    return tmp_path


def vault(folder: Path) -> dict:
    return json.loads((folder / "vault.json").read_text())


def test_a_value_is_read_back_by_another_process_of_the_same_context(folder: Path) -> None:
    assert sealed(folder).get("A") == Secret("canary-a")
    assert (sealed(folder).get("C"), sealed(folder).holds("C"), sealed(folder).holds("B")) == (None, False, True)
    assert b"canary" not in (folder / "vault.json").read_bytes()


def test_every_entry_has_a_nonce_of_its_own_and_a_new_one_each_time(folder: Path) -> None:
    before = vault(folder)
    sealed(folder).put(VALUES)
    nonces = [entry["nonce"] for data in (before, vault(folder)) for entry in data["entries"].values()]
    assert len(set(nonces)) == 4


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_t_sec_5_the_files_are_0600_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        places = Places(tmp_path, kind="file", installation="i", context="local", passphrase=no_passphrase, stop=Stop())
        with places.alone():
            places.chosen().put(VALUES)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("vault.json", "vault.key", "vault.lock"), 0o600)


def test_t_sec_5_a_file_that_stands_open_is_closed(folder: Path) -> None:
    (folder / "vault.json").chmod(0o644)
    assert sealed(folder).holds("A")
    assert stat.S_IMODE((folder / "vault.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("part", ["nonce", "sealed"])
def test_t_sec_6_a_changed_byte_is_damage_and_never_a_value(folder: Path, part: str) -> None:
    whole = vault(folder)
    data = b64decode(whole["entries"]["A"][part])
    for at in range(len(data)):
        whole["entries"]["A"][part] = b64encode(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]).decode()
        (folder / "vault.json").write_text(json.dumps(whole))
        damaged(lambda: sealed(folder).get("A"))
    assert sealed(folder).get("B") == Secret("canary-b")
    sealed(folder).put({"A": Secret("new")})  # what the hint says
    assert sealed(folder).get("A") == Secret("new")


def damaged(call: Callable[[], object]) -> None:
    with pytest.raises(Unavailable) as found:
        call()
    assert (found.value.code, bool(found.value.hint)) == ("VAULT_DAMAGED", True)
    assert "canary" not in repr([found.value, found.value.hint, found.value.context])


def test_t_sec_6_entries_are_bound_to_name_context_and_installation(folder: Path) -> None:
    whole = vault(folder)
    whole["entries"]["A"], whole["entries"]["B"] = whole["entries"]["B"], whole["entries"]["A"]
    (folder / "vault.json").write_text(json.dumps(whole))
    damaged(lambda: sealed(folder).get("A"))
    damaged(lambda: sealed(folder).get("B"))
    for bound_to in (("i", "other"), ("j", "local"), ("i/local", "")):
        damaged(lambda bound_to=bound_to: sealed(folder, bound_to=bound_to).get("A"))


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "{}", '{"version": 1}', '{"version": "1", "seal": {"kind": "file"}, "entries": {}}', "[" * 100000, "\xff",
        '{"version": 1, "seal": {"kind": "plain"}, "entries": {}}', '{"version": 1, "seal": {"kind": "file"}, "entries": []}',
        '{"version": 1, "seal": "file", "entries": {}}', '{"version": 1, "seal": {"kind": "file"}, "entries": {"A": 1}}',
        '{"version": 1, "seal": {"kind": "passphrase"}, "entries": {"A": {}}}',
        '{"version": 1, "seal": {"kind": "passphrase", "scrypt": {"n": 1073741824, "r": 8, "p": 1, "salt": ""}}, "entries": {"A": {}}}',
    ],
)  # fmt: skip
def test_t_sec_6_a_file_that_is_no_vault_is_damage(folder: Path, text: str) -> None:
    (folder / "vault.json").write_text(text, "latin-1")
    damaged(lambda: sealed(folder).get("A"))


def test_t_sec_6_a_file_that_was_cut_is_damage_and_stays_as_it_is(folder: Path) -> None:
    data = (folder / "vault.json").read_bytes()
    for length in range(0, len(data) - 2, 7):
        (folder / "vault.json").write_bytes(data[:length])
        damaged(lambda: sealed(folder).get("A"))
        damaged(lambda: sealed(folder).put(VALUES))
        assert (folder / "vault.json").read_bytes() == data[:length]


def test_a_newer_vault_is_left_alone(folder: Path) -> None:
    (folder / "vault.json").write_text('{"version": 2}')
    with pytest.raises(Conflict) as refused:
        sealed(folder).put(VALUES)
    assert refused.value.code == "STATE_NEWER"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_key_that_others_can_read_is_refused(folder: Path, mode: int) -> None:
    (folder / "vault.key").chmod(mode)
    for call in (lambda: sealed(folder).get("A"), lambda: sealed(folder).put(VALUES)):
        with pytest.raises(Denied) as refused:
            call()
        assert (refused.value.code, "chmod 600" in refused.value.hint) == ("VAULT_UNSAFE", True)


@pytest.mark.parametrize("key", [None, b"", b"x" * 31, b"x" * 32, b"x" * 33])
def test_another_key_or_none_opens_nothing_and_replaces_nothing(folder: Path, key: bytes | None) -> None:
    (folder / "vault.key").unlink()
    if key is not None:
        (folder / "vault.key").write_bytes(key)
        (folder / "vault.key").chmod(0o600)
    before = (folder / "vault.json").read_bytes()
    damaged(lambda: sealed(folder).get("A"))
    damaged(lambda: sealed(folder).put({"C": Secret("c")}))
    assert (folder / "vault.json").read_bytes() == before
    assert (folder / "vault.key").exists() == (key is not None)


def test_the_last_entry_takes_the_file_with_it(folder: Path) -> None:
    sealed(folder).drop("A")
    assert sorted(vault(folder)["entries"]) == ["B"]
    sealed(folder).drop("A")
    sealed(folder).drop("B")
    assert sorted(path.name for path in folder.iterdir()) == ["vault.key"]
    sealed(folder).put(VALUES)
    assert sealed(folder).get("B") == Secret("canary-b")


# a passphrase


def test_a_passphrase_is_asked_for_once_and_a_wrong_one_is_told_before_anything_is_written(tmp_path: Path) -> None:
    asked: list[bool] = []
    one = SealedFile(tmp_path, kind="passphrase", bound_to=("i", "local"), passphrase=lambda new: asked.append(new) or Secret("word"))
    one.put(VALUES)
    assert (one.get("A"), one.place, asked) == (Secret("canary-a"), "passphrase", [True])
    assert (sealed(tmp_path).get("B"), sealed(tmp_path).place) == (Secret("canary-b"), "passphrase")
    before = (tmp_path / "vault.json").read_bytes()
    assert b"canary" not in before
    assert b"word" not in before
    for call in (lambda: sealed(tmp_path, word="wrong").put(VALUES), lambda: sealed(tmp_path, word="wrong").get("A")):
        with pytest.raises(Denied) as refused:
            call()
        assert refused.value.code == "WRONG_PASSPHRASE"
    assert (tmp_path / "vault.json").read_bytes() == before
    assert not (tmp_path / "vault.key").exists()
    silent = SealedFile(tmp_path, kind="passphrase", bound_to=("i", "local"), passphrase=no_passphrase)
    assert silent.holds("A")
    silent.drop("A")
    assert not silent.holds("A")


def test_a_file_with_a_passphrase_is_one_line_that_others_cannot_read(tmp_path: Path) -> None:
    file = tmp_path / "word"
    file.write_text("two words\n")
    file.chmod(0o600)
    assert passphrase_in(file) == Secret("two words")
    file.chmod(0o644)
    with pytest.raises(Denied):
        passphrase_in(file)
    for bad in (b"", b"\n", b"\xff"):
        file.write_bytes(bad)
        file.chmod(0o600)
        with pytest.raises(Invalid):
            passphrase_in(file)
    with pytest.raises(Invalid):
        passphrase_in(tmp_path / "none")


def places(folder: Path, kind: str) -> Places:
    return Places(folder, kind=kind, installation="i", context="local", passphrase=lambda _: Secret("word"), stop=Stop())


def test_a_vault_that_is_sealed_otherwise_is_not_sealed_anew(folder: Path) -> None:
    with pytest.raises(Conflict) as refused:
        places(folder, "passphrase").chosen()
    assert (refused.value.code, "--vault file" in refused.value.hint) == ("VAULT_SEALED", True)
    assert [check.verdict.value for check in places(folder, "passphrase").checks()] == ["failed", "ok"]
    assert places(folder, "file").chosen().place == "file"


# keyrings


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Let a stand-in be the system's keyring; return the file with its entries."""

    def use(name: str) -> Path:
        monkeypatch.setenv("FAKE_KEYRING", str(tmp_path / "entries.json"))
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", name)
        monkeypatch.syspath_prepend(str(SUPPORT))
        monkeypatch.setattr("keyring.core._keyring_backend", None)
        return tmp_path / "entries.json"

    return use


def test_a_keyring_keeps_the_values_under_installation_and_context(backend: Callable[[str], Path], tmp_path: Path) -> None:
    file = backend("rdev_fake_keyring.Keyring")
    one = places(tmp_path, "auto").chosen()
    one.put(VALUES)
    assert (one.place, one.get("A"), one.holds("C")) == ("keyring", Secret("canary-a"), False)
    assert json.loads(file.read_text()) == {"rdev/i/local A": "canary-a", "rdev/i/local B": "canary-b"}
    one.drop("A")
    one.drop("A")
    assert json.loads(file.read_text()) == {"rdev/i/local B": "canary-b"}


def test_a_keyring_that_fails_half_way_keeps_what_it_had(backend: Callable[[str], Path], tmp_path: Path) -> None:
    file = backend("rdev_fake_keyring.Half")
    file.write_text('{"rdev/i/local A": "old"}')
    with pytest.raises(Unavailable) as refused:
        places(tmp_path, "keyring").chosen().put({**VALUES, "C": Secret("canary-c")})
    assert "canary" not in repr([refused.value, refused.value.hint])
    assert json.loads(file.read_text()) == {"rdev/i/local A": "old"}


@pytest.mark.parametrize(
    "name", ["keyring.backends.fail.Keyring", "keyring.backends.null.Keyring", "keyrings.alt.file.PlaintextKeyring", "no.such.Module"]
)
def test_t_sec_7_a_keyring_that_keeps_no_secrets_is_not_used(backend: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    file = backend(name)
    assert places(tmp_path, "auto").chosen().place == "file"
    with pytest.raises(Unavailable) as refused:
        places(tmp_path, "keyring").chosen().put(VALUES)
    assert (refused.value.code, "--vault file" in refused.value.hint) == ("VAULT_LOCKED", True)
    assert [check.verdict.value for check in places(tmp_path, "keyring").checks()] == ["failed"]
    assert not file.exists()


@pytest.mark.parametrize(("behind", "place"), [(["keyrings.alt.file.PlaintextKeyring"], "file"), (["Real"], "keyring")])
def test_t_sec_7_a_chain_never_ends_in_one_that_keeps_plain_text(backend, tmp_path, monkeypatch, behind, place) -> None:
    file = backend("keyring.backends.chainer.ChainerBackend")
    from keyring.backends.chainer import ChainerBackend
    from keyrings.alt.file import PlaintextKeyring
    from rdev_fake_keyring import Keyring

    backends = [PlaintextKeyring(), *([Keyring()] if behind == ["Real"] else [])]
    monkeypatch.setattr(ChainerBackend, "backends", backends)
    monkeypatch.setattr(PlaintextKeyring, "set_password", no_passphrase)
    one = places(tmp_path, "auto").chosen()
    one.put(VALUES)
    assert (one.place, file.exists()) == (place, place == "keyring")


def test_t_sec_7_a_locked_keyring_says_what_to_type_and_not_what_it_was_given(backend: Callable[[str], Path], tmp_path: Path) -> None:
    backend("rdev_fake_keyring.Locked").write_text('{"x": "canary"}')
    for call in (lambda: places(tmp_path, "auto").chosen().put(VALUES), lambda: places(tmp_path, "auto").chosen().get("A")):
        with pytest.raises(Unavailable) as refused:
            call()
        assert (refused.value.code, "unlock it" in refused.value.hint) == ("VAULT_LOCKED", True)
        assert "canary" not in repr([refused.value, refused.value.hint, refused.value.context])


def test_t_sec_7_a_keyring_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()
    monkeypatch.setattr(system, "_first_real", lambda: held.wait(60))
    monkeypatch.setattr(system, "FAST_LOOKUP", 0.05)
    assert places(tmp_path, "auto").chosen().place == "file"
    held.set()


def test_a_foreign_call_is_bounded_and_its_words_are_not_told() -> None:
    held, stop = threading.Event(), Stop()

    def fail() -> None:
        raise ValueError("canary")

    assert within(5, lambda: 7, what="it", stop=stop) == 7
    with pytest.raises(Unavailable) as failed:
        within(5, fail, what="it", stop=stop)
    assert failed.value.message == "it failed: ValueError"
    assert failed.value.__cause__ is failed.value.__context__ is None
    with pytest.raises(TimedOut):
        within(0.01, lambda: held.wait(60), what="it", stop=stop)
    stop.set("cancelled")
    with pytest.raises(Cancelled):
        within(60, lambda: held.wait(60), what="it", stop=stop)
    held.set()


# two at once


WRITER = """
import sys
from pathlib import Path
from rdev_cli.adapters.vault.places import Places
from rdev_cli.domain.values import Secret
from rdev_cli.ports.timing import Stop
places = Places(Path(sys.argv[1]), kind="file", installation="i", context="local", passphrase=lambda _: Secret(""), stop=Stop())
sys.stdin.read()
for number in range(20):
    with places.alone():
        places.chosen().put({f"{sys.argv[2]}_{number}": Secret("x")})
"""


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for name in "ABCD"
    ]
    for one in writers:
        assert one.stdin is not None
        one.stdin.close()
    for one in writers:
        assert one.stderr is not None
        with one.stderr:
            assert one.stderr.read() == b""
        assert one.wait(60) == 0
    assert sorted(vault(tmp_path)["entries"]) == sorted(f"{name}_{number}" for name in "ABCD" for number in range(20))


def test_a_wait_for_another_writer_ends_with_the_stop(tmp_path: Path) -> None:
    one, two = places(tmp_path, "file"), places(tmp_path, "file")
    two._stop.set("cancelled")
    begun = time.monotonic()
    with one.alone(), pytest.raises(RdevError), two.alone():
        pass
    assert time.monotonic() - begun < 20
