"""The log of a pod by pages: each goes on where the last one ended, whatever became of the connection in between."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from rdev_cli.adapters.kubernetes import states
from rdev_cli.adapters.kubernetes.manifests import CONTAINER
from rdev_cli.domain.output import PAGE
from rdev_cli.domain.errors import Invalid, NotFound, Unavailable
from rdev_cli.domain.log import PodLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rdev_cli.adapters.kubernetes.api import Api
    from rdev_cli.domain.log import LogSpec
    from rdev_cli.domain.project import Project

_AFTER = re.compile(r"([0-9T:-]{19})(\.[0-9]+)?Z/([0-9]{1,6})")


def page(api: Api, namespace: str, project: Project, spec: LogSpec, *, after: str) -> PodLog:
    """Return what a pod's log holds after a position, at most the last MiB; NotFound if there is no such log."""
    begun = _AFTER.fullmatch(after) if after else None
    if after and begun is None:
        raise Invalid("that is no position in a log", hint="give the `next` of an earlier part", field="after")
    path = f"/api/v1/namespaces/{namespace}/pods/{project.pod}"
    try:
        # before the log: what was over then has written all that it will
        over = spec.previous or states.over(api.get(path))
        chunks = api.log(
            namespace, project.pod, CONTAINER,
            since_time=f"{begun[1]}Z" if begun else "", since_seconds=0 if begun else spec.since_seconds, tail=-1 if begun else spec.tail,
            previous=spec.previous, timestamps=True,
        )  # fmt: skip
        lines = list(_fresh(_lines(chunks), after)) if begun else list(_lines(chunks))
    except NotFound as e:
        raise NotFound(
            f"the pod of {project.name} is not there, and its log went with it",
            hint=f"rdev exec {project.name} -- true makes it again",
            project=project.name,
        ) from e
    except Invalid as e:
        if spec.previous:
            raise NotFound(
                f"the container of {project.name} was not restarted, so there is no log of one before",
                hint=f"rdev logs {project.name}",
                project=project.name,
            ) from e
        raise Unavailable(
            f"the pod of {project.name} has no log yet: {e.message}",
            hint="try again in a moment",
            code="POD_NOT_READY",
            project=project.name,
        ) from e
    kept, size = deque[bytes](), 0
    for stamp, text in reversed(lines):
        line = stamp + b" " + text if spec.timestamps else text
        size += len(line)
        if size > PAGE and kept:
            break
        kept.appendleft(line)
    return PodLog(
        project=project.name, pod=project.pod, log=b"".join(kept), next=_position(lines, after), ended=over, cut=len(kept) < len(lines)
    )


def _lines(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield (time, text with its newline) of each line."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            stamp, _, text = line.partition(b" ")
            yield stamp, text + b"\n"
    if rest:
        stamp, _, text = rest.partition(b" ")
        yield stamp, text


def _fresh(lines: Iterable[tuple[bytes, bytes]], after: str) -> Iterator[tuple[bytes, bytes]]:
    """Leave out what was told before: all up to a time, and as many lines of just that time as were told of it."""
    time, _, count = after.partition("/")
    told, seen = time.encode(), int(count)
    for stamp, text in lines:
        if stamp < told:
            continue
        if stamp == told and seen:
            seen -= 1
            continue
        yield stamp, text


def _position(lines: list[tuple[bytes, bytes]], after: str) -> str:
    """Return the position after these lines: the last time, and how many lines have just that."""
    if not lines:
        return after
    last = lines[-1][0]
    count = sum(stamp == last for stamp, _ in lines)
    time, _, told = after.partition("/")
    return f"{last.decode(errors='replace')}/{count + (int(told) if time.encode() == last else 0)}"
