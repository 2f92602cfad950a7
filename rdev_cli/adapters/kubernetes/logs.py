"""The log of a pod by pages: each goes on where the last one ended, whatever became of the connection in between."""

from __future__ import annotations

import re
from collections import deque
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from rdev_cli.adapters.kubernetes import states
from rdev_cli.adapters.kubernetes.manifests import CONTAINER
from rdev_cli.domain.errors import Invalid, NotFound, Unavailable
from rdev_cli.domain.log import PodLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rdev_cli.adapters.kubernetes.api import Api
    from rdev_cli.domain.log import LogSpec
    from rdev_cli.domain.project import Project

    Line = tuple[bytes, bytes]  # its time as the server writes it, which sorts as text; its bytes with the newline

_BEGINNING = "1970-01-02T00:00:00Z/0"
# A position is the time of the last line that was told, and how many lines from a second before on have been; `*`: all up to that time.
# Lines of stdout and stderr reach the log in another order than their times, so a time alone would lose some.
_POSITION = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(?:\.[0-9]{1,9})?Z)/([0-9]{1,9}|\*)")


def page(api: Api, namespace: str, project: Project, spec: LogSpec, *, after: str, most: int) -> PodLog:
    """Return what a pod's log holds after a position, at most its last `most` bytes; NotFound if there is no such log."""
    begun = _POSITION.fullmatch(after) if after else None
    if after and begun is None:
        raise Invalid("that is no position in a log", hint="give the `next` of an earlier part", field="after")
    try:
        # before the log: what was over then has written all that it will
        over = spec.previous or states.over(api.get(f"/api/v1/namespaces/{namespace}/pods/{project.pod}"))

        def read(**part: Any) -> Iterator[Line]:
            return _lines(api.log(namespace, project.pod, CONTAINER, previous=spec.previous, timestamps=True, **part))

        if begun:
            lines, cut = _last(read(since_time=f"{_second_before(begun[1])}Z"), most)
        else:
            # where nothing is young enough the next page goes on after this line: the server's time, for the clock here may be wrong
            newest = list(read(tail=1)) if spec.since_seconds else []
            lines, cut = _last(read(since_seconds=spec.since_seconds, tail=max(spec.tail, 1) if spec.tail >= 0 else -1), most)
            after = f"{newest[0][0].decode(errors='replace')}/*" if newest else _BEGINNING
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
    fresh = _fresh(lines, begun[1], begun[2]) if begun else [] if spec.tail == 0 else lines
    return PodLog(
        project=project.name,
        pod=project.pod,
        log=b"".join(b"%s %s" % line if spec.timestamps else line[1] for line in fresh),
        next=_position(lines, after, whole=not cut and (bool(begun) or (spec.tail < 0 and not spec.since_seconds))),
        ended=over,
        cut=cut,
    )


def _lines(chunks: Iterable[bytes]) -> Iterator[Line]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            stamp, _, text = line.partition(b" ")
            yield stamp, text + b"\n"
    if rest:
        stamp, _, text = rest.partition(b" ")
        yield stamp, text


def _last(lines: Iterable[Line], most: int) -> tuple[list[Line], bool]:
    """Return the last lines that fit, and whether there were more."""
    kept, size, cut = deque[tuple[bytes, bytes]](), 0, False
    for line in lines:
        kept.append(line)
        size += len(line[1])
        while size > most and len(kept) > 1:
            size -= len(kept.popleft()[1])
            cut = True
    return list(kept), cut


def _fresh(lines: Iterable[Line], last: str, count: str) -> list[Line]:
    """Leave out what was told before."""
    told, left = last.encode(), float("inf") if count == "*" else int(count)
    fresh = []
    for line in lines:
        if left > 0 and line[0] <= told:
            left -= 1
        else:
            fresh.append(line)
    return fresh


def _position(lines: list[Line], after: str, *, whole: bool) -> str:
    """Return the position after these lines; `whole`: they are all that the log has of their time."""
    if not lines:
        return after
    last = max(stamp for stamp, _ in lines).decode(errors="replace")
    if not whole:
        return f"{last}/*"
    since = _second_before(last).encode()
    return f"{last}/{sum(stamp >= since for stamp, _ in lines)}"


def _second_before(stamp: str) -> str:
    return (datetime.fromisoformat(stamp[:19]) - timedelta(seconds=1)).isoformat()
