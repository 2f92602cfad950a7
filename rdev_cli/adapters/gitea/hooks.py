"""What Gitea tells rdev: one hook a repository and address."""

from collections.abc import Mapping
from typing import Any

from rdev_cli.adapters.gitea.calling import Gitea, at
from rdev_cli.domain.values import Secret

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
