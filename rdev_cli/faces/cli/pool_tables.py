"""Workers, for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rdev_cli.faces.cli.tables import ago

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

CARDS: Mapping[str, Callable[[Any], list[tuple[str, str]]]] = {}
COLUMNS: Mapping[str, Sequence[tuple[str, bool, Callable[[Any], str]]]] = {
    "Worker": (
        ("ID", False, lambda w: w.id),
        ("STATE", False, lambda w: w.state.value),
        ("PROJECT", False, lambda w: w.project or "-"),
        ("SESSION", False, lambda w: w.session or "-"),
        ("LEASES", False, lambda w: str(w.leases)),
        ("SINCE", False, lambda w: ago(w.changed_at)),
        ("POD", True, lambda w: w.pod),
        ("IMAGE", True, lambda w: w.image or "-"),
        ("WHAT", False, lambda w: w.evidence),
    ),
    "Audit": (
        ("WORKER", False, lambda a: a.worker),
        ("NOW", False, lambda a: "clean" if a.clean else "doubted"),
        ("LEASES", False, lambda a: str(a.leases)),
        ("POD", True, lambda a: a.pod),
        ("LAST", True, lambda a: a.last),
        ("WHAT", False, lambda a: ", ".join(a.facts if a.clean else a.doubts)),
    ),
}
