"""What Gitea tells rdev: one hook a repository and address, and what a mirror has that nobody was told of yet."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rdev_cli.adapters.gitea.calling import Gitea, at
from rdev_cli.adapters.shared.git import git
from rdev_cli.domain.values import Secret
from rdev_cli.ports.forge import Moved

_EVENTS = ("push", "create", "delete", "pull_request")


def _mine(api: Gitea, repo: str, url: str) -> list[dict[str, Any]]:
    return [hook for hook in api.all(f"{repo}/hooks") if hook.get("config", {}).get("url") == url]


def ensure(api: Gitea, repo: str, url: str, secret: Secret) -> None:
    """Have one hook to an address, with this secret; Gitea itself takes the same one any number of times."""
    config: Mapping[str, str] = {"url": url, "content_type": "json", "secret": secret.reveal()}
    wanted = {"active": True, "events": list(_EVENTS), "config": config, "branch_filter": "*"}
    mine = _mine(api, repo, url)
    if mine:  # all of it: what is not sent is reset
        api.call("PATCH", f"{repo}/hooks{at(mine[0]['id'])}", wanted, ok=(200,))
    else:
        api.call("POST", f"{repo}/hooks", {"type": "gitea", **wanted}, ok=(201,))
    for hook in mine[1:]:
        api.call("DELETE", f"{repo}/hooks{at(hook['id'])}", ok=(204, 404))


def drop(api: Gitea, repo: str, url: str) -> None:
    """Have none to an address."""
    for hook in _mine(api, repo, url):
        api.call("DELETE", f"{repo}/hooks{at(hook['id'])}", ok=(204, 404))


def _refs(path: Path, below: str) -> dict[str, str]:
    _, out = git(path, "for-each-ref", "--format=%(objectname) %(refname)", "--end-of-options", below)
    lines = (line.split(" ", 1) for line in out.decode("utf-8", "surrogateescape").splitlines())
    return {ref.removeprefix(below): sha for sha, ref in lines}


def news(path: Path) -> Sequence[Moved]:
    """Return how a mirror's branches differ from what was told of them."""
    here, known = _refs(path, "refs/heads/"), _refs(path, "refs/told/")
    names = sorted({*here, *known})
    return [Moved(name=n, old=known.get(n, ""), new=here.get(n, "")) for n in names if known.get(n) != here.get(n)]


def told(path: Path, moved: Sequence[Moved]) -> None:
    """Remember what was told; removals first, as a branch may now stand where another's folder was."""
    for one in sorted(moved, key=lambda one: bool(one.new)):
        ref = f"refs/told/{one.name}"
        if one.new:
            git(path, "update-ref", "--end-of-options", ref, one.new, ok=(0, 1, 128))
        else:
            git(path, "update-ref", "-d", "--end-of-options", ref, ok=(0, 1, 128))
