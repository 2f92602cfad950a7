"""What the doctor says about the disk: how much, when it is too much, and the command that frees most of it."""

import pytest

from rdev_cli.domain.premises import Part, PartKind
from rdev_cli.domain.report import Verdict
from rdev_cli.ops.premises import BUDGET, FREE, disk

GIB = 1 << 30
STATE = "/home/me/.local/state/rdev/local"


def part(kind: PartKind, name: str, size: int, **more: object) -> Part:
    folder = {PartKind.POD: "pods/", PartKind.REPOSITORY: "repos/", PartKind.OUTPUT: "spool/"}.get(kind, "")
    given = {"context": "local", "seconds": 0.0, **more}
    return Part(kind=kind, path=f"{STATE}/{folder}{name}", bytes=size, **given)


SMALL = [part(PartKind.POD, "rdev-shop-01234567", GIB), part(PartKind.STATE, "state.db", 4096)]


def test_within_the_budget_all_is_well_and_each_kind_has_its_size() -> None:
    found = disk(SMALL, FREE, "local")
    assert (found.verdict, found.hint) == (Verdict.OK, "")
    assert found.found == "1.0 GiB (pods 1.0 GiB, repositories 0 B, output 0 B, records 4.0 KiB); 1.0 GiB are free"


def test_the_bounds_are_exact() -> None:
    full = [part(PartKind.POD, "rdev-shop-01234567", BUDGET)]
    assert disk(full, FREE, "local").verdict is Verdict.OK
    assert disk([*full, part(PartKind.STATE, "swept", 1)], FREE, "local").verdict is Verdict.WARNING
    assert disk(SMALL, FREE - 1, "local").verdict is Verdict.WARNING


@pytest.mark.parametrize(
    ("biggest", "hint"),
    [
        (part(PartKind.POD, "rdev-my-shop-01234567", 20 * GIB), "rdev project delete my-shop frees 20.0 GiB"),
        (
            part(PartKind.POD, "rdev-my-shop-01234567", 20 * GIB, context="other"),
            "rdev project delete my-shop --context other frees 20.0 GiB",
        ),
        (part(PartKind.REPOSITORY, "shop.git", 20 * GIB), "rdev project delete shop frees 20.0 GiB"),
        (part(PartKind.OUTPUT, "cmd_1", 20 * GIB), f"rm -r {STATE}/spool/cmd_1 frees 20.0 GiB"),
        (part(PartKind.OUTPUT, "cmd_1", 20 * GIB, running=True), "rdev command cancel cmd_1"),
        (part(PartKind.STATE, "state.db", 20 * GIB), "rdev journal prune --before 30d"),
        (part(PartKind.POD, "a b", 20 * GIB, foreign="it is not rdev's"), f"'{STATE}/pods/a b' is not rdev's: move it away"),
    ],
)
def test_over_the_budget_the_hint_frees_the_biggest_thing(biggest: Part, hint: str) -> None:
    found = disk([*SMALL, biggest], 100 * GIB, "local")
    assert (found.verdict, found.hint) == (Verdict.WARNING, hint)
    assert found.found.startswith("rdev takes more than 10.0 GiB: ")


def test_a_full_disk_is_told_though_rdev_has_nothing_on_it() -> None:
    found = disk([], 5, "local")
    assert (found.verdict, found.hint) == (Verdict.WARNING, "")
    assert found.found.startswith("less than 1.0 GiB is free: ")
