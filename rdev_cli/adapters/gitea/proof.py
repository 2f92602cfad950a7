"""What a Gitea lets rdev do: asked, and nothing is changed there."""

from collections.abc import Callable, Sequence

from rdev_cli.adapters.gitea.calling import Gitea
from rdev_cli.adapters.gitea.holders import Holders
from rdev_cli.domain.errors import RdevError
from rdev_cli.domain.report import Check, Verdict
from rdev_cli.domain.values import shown


def checks(api: Gitea, holders: Holders, *, owner: str, nursery: Callable[[], str]) -> Sequence[Check]:
    """Prove that it answers, knows the token, has the owner, and lets accounts be made."""
    try:
        version = str(api.call("GET", "/version", ok=(200,)).data["version"])
        me = str(api.call("GET", "/user", ok=(200,)).data["login"])
    except RdevError as e:
        return [Check(name="forge", verdict=Verdict.FAILED, found=e.message, hint=e.hint)]
    found = [Check(name="forge", verdict=Verdict.OK, found=f"Gitea {shown(version)} at {api.host} knows rdev as {shown(me)}")]
    try:
        nursery()
        api.call("GET", "/user/repos", ok=(200,), query={"limit": "1"})
        found.append(Check(name="forge.owner", verdict=Verdict.OK, found=f"repositories are made for {shown(owner or me)}"))
    except RdevError as e:
        found.append(Check(name="forge.owner", verdict=Verdict.FAILED, found=e.message, hint=e.hint))
    return [*found, holders.check()]
