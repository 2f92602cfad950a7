"""Pull requests of the local forge: rdev's own records beside a repository, and merges that are made without a work tree."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rdev_cli.adapters.shared import bare
from rdev_cli.adapters.shared.files import private_folder, write_whole
from rdev_cli.domain.errors import Conflict, Invalid, NotFound, Unavailable
from rdev_cli.domain.project import Project
from rdev_cli.domain.review import Pull

_FIELDS = ("number", "head", "base", "sha", "state", "merged", "title")


class Pulls:
    """The pull requests of one repository."""

    def __init__(self, path: Path, project: Project) -> None:
        self._path, self._folder, self._project = path, path / "rdev-pulls", project

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.json"

    def _load(self, number: int) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._file(number).read_bytes())
        except FileNotFoundError as e:
            raise NotFound(
                f"there is no pull request {number} of {self._project.name}", hint="rdev checkin opens one", number=number
            ) from e
        except (OSError, ValueError) as e:
            raise Unavailable(
                f"cannot read {self._file(number)}: {e}", hint="restore it from a backup, or move it away", path=str(self._file(number))
            ) from e
        return found

    def _save(self, record: dict[str, Any]) -> None:
        private_folder(self._folder)
        write_whole(self._file(record["number"]), json.dumps(record).encode())

    def _numbers(self) -> list[int]:
        return sorted(int(file.stem) for file in self._folder.glob("*.json") if file.stem.isdecimal())

    def _shown(self, record: dict[str, Any]) -> Pull:
        """Return a record as it stands now: an open one's head is where its branch is."""
        pull = Pull(url="", **{field: record[field] for field in _FIELDS})
        if pull.state != "open":
            return pull
        return replace(pull, sha=bare.standing(self._path, pull.head) or pull.sha)

    def open(self, *, head: str, base: str, title: str, body: str) -> Pull:
        with bare.alone(self._path):
            if found := self.find(head, base):
                return found
            if head == base:
                raise Invalid(f"{head} cannot be merged into itself", hint="name another branch", field="branch")
            sha = bare.standing(self._path, head)
            for name, there in ((head, sha), (base, bare.standing(self._path, base))):
                if not there:
                    raise NotFound(
                        f"there is no branch {name} in {self._project.name}",
                        hint=f"rdev branch list {self._project.name} shows the ones there are",
                        branch=name,
                    )
            pull = Pull(number=(self._numbers() or [0])[-1] + 1, url="", head=head, base=base, sha=sha, state="open", title=title)
            self._save({**asdict(pull), "body": body, "comments": []})
            return pull

    def get(self, number: int) -> Pull:
        return self._shown(self._load(number))

    def find(self, head: str, base: str) -> Pull | None:
        for number in reversed(self._numbers()):
            record = self._load(number)
            if (record["head"], record["base"], record["state"]) == (head, base, "open"):
                return self._shown(record)
        return None

    def comment(self, number: int, text: str) -> None:
        with bare.alone(self._path):
            record = self._load(number)
            self._save({**record, "comments": [*record["comments"], text]})

    def close(self, number: int) -> None:
        with bare.alone(self._path):
            record = self._load(number)
            if record["state"] == "open":
                self._save({**record, "sha": self._shown(record).sha, "state": "closed"})

    def merge(self, number: int, *, sha: str, message: str) -> Pull:
        with bare.alone(self._path):
            record = self._load(number)
            pull = self._shown(record)
            if pull.state == "merged":
                return pull
            if pull.state == "closed":
                raise bare.pull_closed(pull)
            if pull.sha != sha:
                raise bare.head_moved(pull, sha)
            for _ in range(5):
                base = bare.standing(self._path, pull.base)
                merged = bare.joining(self._path, base, sha) if bare.ancestor(self._path, sha, base) else ""
                if not merged and bare.ancestor(self._path, sha, base):
                    merged = base  # it came in by another way
                if not merged:
                    made = bare.joined(self._path, base=base, head=sha, message=message)
                    # only if the branch still stands where it was looked at
                    merged = made if bare.move(self._path, pull.base, made, base) else ""
                if merged:
                    pull = replace(pull, state="merged", merged=merged)
                    self._save({**record, "sha": sha, "state": "merged", "merged": merged})
                    return pull
            raise Conflict(f"{pull.base} keeps moving", hint="try again", project=self._project.name)
