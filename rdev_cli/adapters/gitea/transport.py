"""git between a mirror and Gitea: what it says of the way becomes an error of ours."""

from collections.abc import Sequence
from pathlib import Path

from rdev_cli.adapters.gitea.calling import Gitea
from rdev_cli.adapters.shared.git import git
from rdev_cli.domain.errors import Denied, Failed, NotFound, Unavailable
from rdev_cli.ports.timing import LONG_RUNNING


def run(api: Gitea, path: Path, *argv: str, ok: Sequence[int] = (0,)) -> tuple[int, bytes]:
    """Run git in a mirror with the token in its environment, and return (exit code, stdout)."""
    stop, scheme = api.stop(), api.url.partition(":")[0]
    try:
        return git(path, *argv, protocols=scheme, header=api.header(), ok=ok, timeout=LONG_RUNNING, stop=stop)
    except Failed as e:
        said = str(e.context["said"])
        if "Authentication failed" in said or "Failed to authenticate" in said or "could not read Username" in said:
            raise Denied(
                f"Gitea at {api.host} does not know rdev's token",
                hint="rdev credential set GITEA_TOKEN",
                code="FORGE_TOKEN",
                said=said,
            ) from e
        if "not found" in said.lower() and "repository" in said.lower():
            raise NotFound(f"there is no repository at {api.host} for this", hint="rdev project show NAME", said=said) from e
        raise Unavailable(
            f"git cannot reach Gitea: {e.message}", hint="rdev context test asks it again", code="FORGE_UNREACHABLE", said=said
        ) from e
