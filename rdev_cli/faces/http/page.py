"""The page: what a person sees of projects, sessions and commands, and how they sign in; nothing is changed here."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rdev_cli.domain.access import Scope
from rdev_cli.domain.agent import AgentEventKind
from rdev_cli.domain.command import OPEN, Command, CommandKind
from rdev_cli.domain.errors import Denied, Failed, NotFound, OutcomeUnknown, RdevError, Unavailable
from rdev_cli.domain.output import whole as characters
from rdev_cli.domain.project import Project
from rdev_cli.faces.http.face import Routes, admit, public, status_of, told, whole
from rdev_cli.faces.http.feeds import View
from rdev_cli.faces.http.metrics import Looped
from rdev_cli.faces.http.rendering import FILES, HEADERS, SIGN_IN, Paged, printed, render, sorry, static, to
from rdev_cli.faces.http.stream import EventStream, journal_, output
from rdev_cli.faces.http.visits import COOKIE, PATH, Visits, presented
from rdev_cli.ops import commands, doctor, events, known, projects
from rdev_cli.ports import World
from rdev_cli.wiring.serving import Standing

T = TypeVar("T")

ROWS = 50  # of a list
PROJECTS = 25  # of theirs, each of which asks the forge for its newest commit
TAIL = 1 << 18  # bytes of each stream of a command that stand on its page
_FORM = "application/x-www-form-urlencoded"
_WHERE = re.compile(rf"{PATH}(?!/log(?:in|out))(?:/[A-Za-z0-9_-]*)*(?:\?[A-Za-z0-9_=&-]*)?")
_WHY = {"KEY_REVOKED": "The key was revoked.", "KEY_EXPIRED": "The key has expired."}
"""


def routes(standing: Callable[[], Sequence[Standing]], loops: Sequence[Looped]) -> Routes:
"""
