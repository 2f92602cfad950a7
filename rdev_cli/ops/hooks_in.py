"""What a forge tells rdev: believed only as far as that it is time to look again."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from rdev_cli.domain.credential import HOOK_SECRET
from rdev_cli.domain.values import Secret
from rdev_cli.ops import credentials

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rdev_cli.domain.project import Project
    from rdev_cli.ports import World
    from rdev_cli.ports.forge import Moved

PATH = "/hooks/gitea"
Nothing = Secret("")


def address(world: World) -> str:
    """Return where the forge shall tell, empty if there is no such place."""
    public = world.house.settings.public_url()
    return f"{public}{PATH}" if public else ""


def register(world: World, project: Project) -> None:
    """Have the forge tell this context's server what happens to a project's repository, if it has an address."""
    if url := address(world):
        world.forge.ensure_hook(project, url, secret(world.house, make=True))


def secret(world: World, *, make: bool = False) -> Secret:
    """Return what the forge signs with: one secret for a context, kept as a credential; NotFound if there is none and none shall be made."""
    if make and not any(one.name == HOOK_SECRET for one in world.store.credentials()):
        credentials.set_(world, HOOK_SECRET, world.hooks.new_secret().reveal().encode())
    return credentials.reveal(world, credentials.known(world, HOOK_SECRET))


def signed(secret: Secret, body: bytes, signature: str) -> bool:
    """Say whether a message is signed with the secret: the hex of an HMAC-SHA256 of its bytes."""
    return hmac.compare_digest(hmac.new(secret.reveal().encode(), body, "sha256").hexdigest().encode(), signature.encode())


def look(world: World, name: str) -> Sequence[Moved]:
    """Look how a project's branches stand at the forge, and tell in the journal which of them moved; nothing where none did.

    Nothing that a message said is used but the name. NotFound if there is no such project. What was looked at by a process that was killed is
    told by the next look.
    """
    from rdev_cli.ops import known  # noqa: PLC0415 -- a short command creates no project

    project = known.project(world, name)
    moved = world.forge.news(project)
    if moved:
        with world.store.transaction() as tx:
            known.still(tx, project)
            for one in moved:
                tx.append("branch.moved", project.name, {"branch": one.name, "before": one.old, "commit": one.new})
        world.forge.told(project, moved)
    return moved
