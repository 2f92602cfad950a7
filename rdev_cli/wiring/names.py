"""The names that completion offers, read at each Tab: without a world, and without what is slow to load.

Nothing is written but what SQLite itself puts beside a file in WAL mode; what cannot be read has no names. The places and the order in which
a context is found are those of wiring/config.py, and the twins of the settings files are those of wiring/files.py; tests hold the two together.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from typing import Any

    Found = list[tuple[str, str]]

MOST = 1000  # projects, credentials, or keys
RECENT = 50  # commands
_PLAIN = set("abcdefghijklmnopqrstuvwxyz0123456789-_")
_CAPITAL = set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_COMMANDS = (
    "select id, state || ', ' || project || ': ' || case kind when 'agent' then agent"
    """ else replace(trim(substr(argv, 1, 200), '["]'), '", "', ' ') end from commands"""  # its words, as near as a line of help needs them
)
PATIENCE = 0.25  # seconds that a Tab waits for somebody who writes


def folder(environ: Mapping[str, str], flag: str) -> str:
    """Return the folder of the context in force, empty if it has no proper name."""
    name = flag or environ.get("RDEV_CONTEXT") or _settings_context(environ)
    return f"{_place(environ, 'XDG_STATE_HOME', '.local/state')}/{name}" if _plain(name) else ""


def projects(folder: str, typed: str) -> Found:
    """Return the projects of a context that begin as typed, with what they are about."""
    found = _rows(folder, "select name, description from projects where name >= ? and name < ? order by name limit ?", typed, MOST)
    return [(name, words) for name, words in found if _plain(name)]


def commands(folder: str, typed: str) -> Found:
    """Return the newest commands of a context that begin as typed: those that run come first."""
    rows: dict[str, str] = {}
    for wanted in ("state in ('pending', 'running') and", ""):  # two questions: each has an index, their union has none
        found = _rows(folder, f"{_COMMANDS} where {wanted} id >= ? and id < ? order by id desc limit ?", typed, RECENT)
        rows = {**rows, **{id: words for id, words in found if id not in rows and _plain(id)}}
    return list(rows.items())[:RECENT]


def credentials(folder: str, typed: str) -> Found:
    """Return the credentials of a context that begin as typed, with where each is kept; no vault is opened."""
    found = _rows(folder, "select name, place from credentials where name >= ? and name < ? order by name limit ?", typed, MOST)
    return [(name, words) for name, words in found if isinstance(name, str) and "A" <= name[:1] <= "Z" and set(name) <= _CAPITAL]


def keys(folder: str, typed: str) -> Found:
    """Return the keys of a context by their ids, those that were not revoked, with their names."""
    found = _rows(folder, "select id, name from keys where revoked_at is null and id >= ? and id < ? order by id limit ?", typed, MOST)
    return [(id, words) for id, words in found if _plain(id)]


def sessions(folder: str, typed: str) -> Found:
    """Return the sessions of a context that have not ended, with their projects; none of rdev's own checks."""
    query = "select id, project || ', ' || branch from sessions where state <> 'ended' and purpose = 'work' and id >= ? and id < ? order by id desc limit ?"
    return [(id, words) for id, words in _rows(folder, query, typed, MOST) if _plain(id)]


def checkouts(folder: str, typed: str) -> Found:
    """Return the checkouts of a context that are active, with their projects."""
    found = _rows(
        folder, "select id, project from checkouts where state = 'active' and id >= ? and id < ? order by id desc limit ?", typed, MOST
    )
    return [(id, words) for id, words in found if _plain(id)]


def contexts(environ: Mapping[str, str]) -> Found:
    """Return the contexts there are."""
    kept = _settings(environ).get("contexts")
    return [(name, "") for name in sorted({"local", *(str(name) for name in kept or () if _plain(str(name)))})]


def _plain(name: object) -> bool:
    """Say whether a name is made of harmless characters only, whoever wrote it: it goes into a path, and onto a line of a shell."""
    return isinstance(name, str) and "a" <= name[:1] <= "z" and len(name) <= 40 and set(name) <= _PLAIN


def _rows(folder: str, query: str, typed: str, most: int) -> Sequence[Any]:
    path = f"{folder}/state.db"
    if not folder or not os.path.isfile(path):
        return ()
    import sqlite3  # noqa: PLC0415 -- only when there is a state

    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection: sqlite3.Connection | None = None
    try:
        # not `immutable`: a rollback journal must be seen, and a writer's lock waited for
        connection = sqlite3.connect(f"file:{quoted}?mode=ro", uri=True, timeout=PATIENCE, isolation_level=None)
        return connection.execute(query, [typed, f"{typed}~", most]).fetchall()
    except (sqlite3.Error, UnicodeError):
        return ()
    finally:
        if connection is not None:
            connection.close()


def _place(environ: Mapping[str, str], variable: str, default: str) -> str:
    value = environ.get(variable, "")
    if not value.startswith("/"):
        value = f"{environ.get('HOME') or os.path.expanduser('~')}/{default}"
    return os.path.normpath(value) + "/rdev"


def _settings(environ: Mapping[str, str]) -> Mapping[str, Any]:
    found = _twin(environ, f"{_place(environ, 'XDG_CONFIG_HOME', '.config')}/config.yaml")
    return found if isinstance(found, dict) else {}


def _settings_context(environ: Mapping[str, str]) -> str:
    """Return the context that the nearest .rdev.yaml names, else the one in the settings, else `local`."""
    named = None
    try:
        here = os.getcwd()
    except OSError:
        here = ""
    while here:
        path = f"{here.rstrip('/')}/.rdev.yaml"
        if os.path.exists(path):
            data = _twin(environ, path)
            named = data.get("context") if isinstance(data, dict) else None
            break
        here = os.path.dirname(here) if here != "/" else ""
    return str(named or _settings(environ).get("current") or "local")


def _twin(environ: Mapping[str, str], path: str) -> Any:
    """Return the data of a settings file from its JSON twin, None if there is no twin of the file as it is: YAML is too slow for a Tab."""
    cache = _place(environ, "XDG_CACHE_HOME", ".cache")
    twin = f"{cache}/{''.join(c if c.isascii() and c.isalnum() else '-' for c in path)[-100:]}.json"
    try:
        found = os.stat(path)
        with open(twin, "rb") as file:
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            data = file.read()
        import json  # noqa: PLC0415 -- only when there are settings

        kept = json.loads(data)
        return kept["data"] if kept["of"] == [path, found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
