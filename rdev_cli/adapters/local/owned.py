"""Pods of `local` as things that belong to somebody: found by their marks, removed only as they were found."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from rdev_cli.adapters.shared.files import remove_tree, write_whole
from rdev_cli.domain.errors import Conflict, Unavailable
from rdev_cli.domain.resource import POD, Inventory, Owned


def inventory(pods: Path, installation: str) -> Inventory:
    """Return the pods that carry the installation's id; the clock of this place is the machine's."""
    at = datetime.now(UTC)
    items = tuple(pod for pod in _pods(pods) if pod.installation == installation)
    return Inventory(place=f"local:{pods}", installation=installation, at=at, items=items)


def others(pods: Path, installation: str) -> list[Owned]:
    """Return the pods that carry another installation's id."""
    return [pod for pod in _pods(pods) if pod.installation != installation]


def remove(pods: Path, thing: Owned) -> bool:
    """Remove a pod as it was found; False if it is gone, Conflict if it is another."""
    found = _pod(pods / thing.name)
    if found is None and not os.path.lexists(pods / thing.name):
        return False
    if found is None or (found.uid, found.version) != (thing.uid, thing.version):
        raise _changed(thing)
    try:
        remove_tree(pods / thing.name)
    except OSError as e:
        raise Unavailable(f"cannot remove {pods / thing.name}: {e.strerror}", hint="rdev doctor looks for the cause") from e
    return True


def hand_over(pods: Path, pod: Owned, *, installation: str, project: str, id: str) -> None:
    """Write other marks on a pod, and leave all else that is on it."""
    found = _pod(pods / pod.name)
    if found is None or (found.installation, found.project_id) not in ((pod.installation, pod.project_id), (installation, id)):
        raise _changed(pod)
    mark = json.loads((pods / pod.name / "pod.json").read_bytes())
    write_whole(pods / pod.name / "pod.json", json.dumps({**mark, "installation": installation, "name": project, "id": id}).encode())


def _changed(thing: Owned) -> Conflict:
    return Conflict(f"{thing.name} is not what it was any more", hint="look at it again", code="CHANGED", pod=thing.name)


def _pods(pods: Path) -> Iterator[Owned]:
    try:
        names = sorted(os.listdir(pods))
    except FileNotFoundError:
        return
    except OSError as e:
        raise Unavailable(f"cannot read {pods}: {e.strerror}", hint="make it readable", path=str(pods)) from e
    for name in names:
        found = _pod(pods / name)
        if found is not None:
            yield found


def _pod(path: Path) -> Owned | None:
    """Return a pod, None if it carries no mark: then it is half made, and nobody's yet."""
    try:
        seen, written = os.lstat(path), os.lstat(path / "pod.json")
        mark = json.loads((path / "pod.json").read_bytes())
        installation, project, id = (str(mark[key]) for key in ("installation", "name", "id"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as e:
        raise Unavailable(f"cannot read {path}: {e.strerror}", hint="make it readable", path=str(path)) from e
    except (ValueError, KeyError, TypeError):
        return None
    return Owned(
        kind=POD, name=path.name, namespace="", uid=f"{id}.{seen.st_ino}", version=f"{written.st_ino}.{written.st_mtime_ns}",
        installation=installation, project=project, project_id=id, created_at=datetime.fromtimestamp(seen.st_mtime, UTC),
    )  # fmt: skip
