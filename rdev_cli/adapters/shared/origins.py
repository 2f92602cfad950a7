"""Where a project's history can come from: folders and URLs, how they are checked, and how what they hold is taken."""

import os
import re
import shlex
from pathlib import Path

from rdev_cli.adapters.shared.git import git, telling
from rdev_cli.domain.errors import Failed, Invalid, NotFound, Unavailable
from rdev_cli.domain.values import shown
from rdev_cli.ports.timing import FAST_LOOKUP, LONG_RUNNING, Stop

# Neither a user nor a host may begin with `-`, which ssh would take for an option; nor hold `%`, behind which git would find one.
_USER, _HOST = r"[A-Za-z0-9_][A-Za-z0-9_.-]*", r"[A-Za-z0-9][A-Za-z0-9.-]*"
_URL = re.compile(rf"(https://|ssh://({_USER}@)?)({_HOST}|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?/\S*")
_SCP = re.compile(rf"{_USER}@{_HOST}:[^-\s]\S*")
_SECRET = re.compile(r"https://[^/]*@.*|[A-Za-z][A-Za-z0-9+.-]*://[^/@]*:[^/@]*@.*")


def check_source(source: str, stop: Stop, *, repos: Path) -> str:
    """Return the source as it is recorded, as the Forge port says; `repos` holds the repositories of this state folder."""
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", source)
    if _SECRET.fullmatch(source):
        raise Invalid(
            "the URL holds credentials, which would stay in records",
            hint="clone it yourself and give the folder: --from DIR",
            field="source",
        )
    if _URL.fullmatch(source) or _SCP.fullmatch(source):
        return source
    if scheme and not os.path.exists(source):
        raise Invalid(
            f"--from '{shown(source)}' is not a URL that rdev takes",
            hint="https://…, ssh://…, user@host:path, or a folder",
            field="source",
        )
    path = os.path.realpath(source)
    state = os.path.realpath(repos.parent.parent)
    if path.startswith(f"{state}/") and path.removeprefix(f"{state}/").split("/")[1:2] != ["repos"]:
        # what is in a pod is an agent's, and git on the host never runs there
        raise Invalid(
            f"{shown(source)} is rdev's own", hint="give the project's repository: rdev project show NAME -o json", field="source"
        )
    if not os.path.isdir(path):
        hint = "give a folder with a git repository, or a URL"
        if re.match(r"[\w-]+(\.[\w-]+)+/", source):
            hint = f"for a URL: --from https://{shown(source)}"
        raise NotFound(f"there is no folder {shown(source)}", hint=hint, source=source)
    # its configuration may include what never ends, so this is bounded, and a Ctrl-C ends it
    code, out = git(Path(path), "rev-parse", "--is-shallow-repository", "--show-prefix", ok=range(256), timeout=FAST_LOOKUP, stop=stop)
    if code != 0:
        raise Invalid(
            f"{shown(source)} is no git repository of yours",
            hint=f"make it one, and commit what shall be in it: git -C {shlex.quote(shown(source, most=4096))} init",
            field="source",
        )
    shallow, _, prefix = os.fsdecode(out).removesuffix("\n").partition("\n")
    if prefix:
        top = path.removesuffix(f"/{prefix.removesuffix('/')}")
        raise Invalid(f"{shown(source)} is a folder inside a repository", hint=f"give the repository's top folder: {top}", field="source")
    if shallow == "true":
        raise Invalid(
            f"{shown(source)} is a shallow clone, without its whole history", hint=f"git -C {path} fetch --unshallow", field="source"
        )
    return path


def take(path: Path, source: str, stop: Stop) -> str:
    """Bring history and branches of a checked source into a bare repository; return the name of its main branch."""
    protocols = "file" if os.path.isdir(source) else "https:ssh"
    try:
        _, refs = git(
            path, "ls-remote", "--symref", "--quiet", "--end-of-options", source, "HEAD", "refs/heads/*",
            protocols=protocols, stop=stop, timeout=LONG_RUNNING,
        )  # fmt: skip
    except Failed as e:
        said = e.context["said"]
        raise Unavailable(
            f"{shown(source, most=200)} cannot be read: {telling(said)}",
            hint="look at the address and at what it lets you read, or clone it yourself and use --from DIR",
            said=said,
        ) from e
    branch, heads, at = "", dict[str, str](), ""
    for line in refs.decode("utf-8", "surrogateescape").splitlines():
        value, _, ref = line.partition("\t")
        if ref == "HEAD" and value.startswith("ref: refs/heads/"):
            branch = value.removeprefix("ref: refs/heads/")
        elif ref == "HEAD":
            at = value
        elif ref.startswith("refs/heads/"):
            heads[ref.removeprefix("refs/heads/")] = value
    if branch not in heads:  # a detached HEAD names a commit only
        branch = (
            next((b for b in ("main", "master") if b in heads), "")
            or next((b for b, sha in heads.items() if sha == at), "")
            or next(iter(heads), "")
        )
    if not branch:
        where = shlex.quote(shown(source, most=4096))
        hint = f"commit something there first: git -C {where} add . && git -C {where} commit -m begin"
        raise Invalid(f"{shown(source)} has no commit on any branch", hint=hint, field="source")
    # branches and their history; tags, notes, configuration, hooks and submodules stay where they are
    git(
        path, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--end-of-options", source,
        "+refs/heads/*:refs/heads/*", protocols=protocols, stop=stop, timeout=LONG_RUNNING,
    )  # fmt: skip
    git(path, "symbolic-ref", "--end-of-options", "HEAD", f"refs/heads/{branch}")
    return branch
