"""Who was let into a repository of the local forge for a while: a file each, and a hook that holds their pushes to one branch.

Whoever works on this machine under the same user owns these files, so this keeps slips away and is no boundary: a push that names no checkout
is its owner's own.
"""

import json
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rdev_cli.adapters.shared.files import private_folder, write_whole
from rdev_cli.adapters.shared.git import git
from rdev_cli.domain.errors import Invalid, NotFound
from rdev_cli.domain.values import Secret, shown
from rdev_cli.ports.forge import Access, Admitted

OPTION = "rdev-checkout"
_NAME = re.compile(r"(rdev-co-[0-9a-z]{8})-([0-9]{1,12})")
# what git runs for each push, with a line `old new ref` for each branch. A holder's file has three lines: until when, the branch, JSON for rdev
_HOOK = f"""#!/bin/sh
# made by rdev: a push of a checkout reaches the checkout's branch only
who= n=0
while [ "$n" -lt "${{GIT_PUSH_OPTION_COUNT:-0}}" ]; do
  eval "option=\\$GIT_PUSH_OPTION_$n"
  case $option in {OPTION}=*) who=${{option#{OPTION}=}} ;; esac
  n=$((n + 1))
done
[ -n "$who" ] || exit 0
case $who in *[!a-z0-9-]*) echo "rdev: there is no such checkout" >&2; exit 1 ;; esac
until= branch=
if [ -f "rdev-holders/$who" ]; then
  {{ IFS= read -r until; IFS= read -r branch; }} <"rdev-holders/$who"
fi
if [ -z "$until" ] || [ "$(date +%s)" -ge "$until" ]; then
  echo "rdev: this checkout has ended: rdev checkout start begins another" >&2
  exit 1
fi
while read -r old new ref; do
  if [ "$ref" != "refs/heads/$branch" ]; then
    echo "rdev: this checkout writes $branch only, not $ref" >&2
    exit 1
  fi
  case $new in
    *[!0]*) ;;
    *) echo "rdev: this checkout does not remove its branch" >&2; exit 1 ;;
  esac
  case $old in *[!0]*)
    if ! git merge-base --is-ancestor "$old" "$new"; then
      echo "rdev: nothing is forced here: bring the branch's newer commits in first" >&2
      exit 1
    fi
  esac
done
"""


def _split(name: str) -> tuple[str, int]:
    """Return (whose it is, until when) of a name."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise Invalid(f"'{shown(name)}' is no name of a checkout's holder", hint="rdev checkout list", field="name")
    return found[1], int(found[2])


def _files(path: Path, whose: str) -> list[Path]:
    return sorted((path / "rdev-holders").glob(f"{whose}"))


def admit(path: Path, access: Access) -> Admitted:
    """Let a holder in."""
    whose, _ = _split(access.name)
    git(path, "config", "--end-of-options", "receive.advertisePushOptions", "true")
    hook = private_folder(path / "hooks") / "pre-receive"
    write_whole(hook, _HOOK.encode())
    os.chmod(hook, 0o700)
    _write(path, whose, access)
    return Admitted(account="", token=Secret(""), push_option=f"{OPTION}={whose}")


def _write(path: Path, whose: str, access: Access) -> None:
    lines = (str(int(access.expires_at.timestamp())), access.branch, json.dumps({"name": access.name}))
    write_whole(private_folder(path / "rdev-holders") / whose, "".join(f"{line}\n" for line in lines).encode())


def extend(path: Path, access: Access) -> str:
    """Let a holder go on; return the name from then on."""
    whose, _ = _split(access.name)
    if not _files(path, whose):
        raise NotFound(f"nobody is let in as {access.name}", hint="rdev checkout start begins another", name=access.name)
    name = f"{whose}-{int(access.expires_at.timestamp())}"
    _write(path, whose, Access(name=name, branch=access.branch, expires_at=access.expires_at))
    return name


def dismiss(path: Path, name: str) -> bool:
    """Let a holder in no more; return whether there was one."""
    gone = False
    for file in _files(path, _split(name)[0]):
        file.unlink(missing_ok=True)
        gone = True
    return gone


def admitted(path: Path) -> Sequence[Access]:
    """Return who is let in."""
    found = []
    for file in sorted((path / "rdev-holders").glob("rdev-co-*")):
        try:
            until, branch, said = file.read_text().splitlines()
            at = datetime.fromtimestamp(int(until), UTC)
            found.append(Access(name=json.loads(said)["name"], branch=branch, expires_at=at))
        except (OSError, ValueError, KeyError):
            continue  # half written by nobody, or gone meanwhile
    return found
