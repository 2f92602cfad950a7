"""What a forge promises of branches, changes and pull requests, and of those who may write for a while."""

from datetime import UTC, datetime, timedelta

import pytest

from rdev_cli.domain.errors import Conflict, Invalid, NotFound
from rdev_cli.ports.forge import ONE_FILE, Access, access_name
from tests.contract.test_forge import seeded, yard
from tests.support.yards import Yard, project

__all__ = ["yard"]


def delivered(yard: Yard, branch: str, onto: str, subject: str, files: dict[str, str | None]) -> str:
    """Bring a pod's commit onto a branch of its own."""
    yard.forge.ensure_branch(project(), branch, onto)
    sha, bundle = yard.pod_changes(onto, subject, files)
    assert yard.forge.receive(project(branch=branch), bundle, sha=sha, rescue="rdev/rescue/no").branch == branch
    return sha


def test_a_branch_is_made_once_and_never_moved(yard):
    first = seeded(yard)
    for _ in (1, 2):
        yard.forge.ensure_branch(project(), "rdev/one", first)
    sha = delivered(yard, "rdev/two", first, "two", {"two.txt": "2\n"})
    with pytest.raises(Conflict) as there:
        yard.forge.ensure_branch(project(), "rdev/two", first)
    assert there.value.code == "BRANCH_EXISTS"
    with pytest.raises(NotFound):
        yard.forge.ensure_branch(project(), "rdev/three", "f" * 40)
    found = [(branch.name, branch.sha) for branch in yard.forge.branches(project())]
    assert found == [("main", first), ("rdev/one", first), ("rdev/two", sha)]
    assert [yard.forge.find_branch(project(), name) for name in ("rdev/two", "none", "rdev")] == [sha, "", ""]


def test_a_branch_is_removed_only_where_it_was_seen(yard):
    first = seeded(yard)
    sha = delivered(yard, "rdev/two", first, "two", {"two.txt": "2\n"})
    with pytest.raises(Conflict) as moved:
        yard.forge.delete_branch(project(), "rdev/two", first)
    assert moved.value.code == "BRANCH_MOVED"
    with pytest.raises(Conflict) as kept:
        yard.forge.delete_branch(project(), "main", first)
    assert kept.value.code == "BRANCH_PROTECTED"
    assert [yard.forge.delete_branch(project(), "rdev/two", sha) for _ in (1, 2)] == [True, False]
    assert yard.branches() == {"main": first}


@pytest.mark.parametrize("name", ["a;rm", "a$(id)", "a`id`", "@x", "é", "feature/cart"])
def test_t_git_3_a_branch_keeps_its_name_whatever_a_shell_would_make_of_it(yard, name):
    first = seeded(yard)
    sha = delivered(yard, name, first, "two", {"two.txt": "2\n"})
    assert {branch.name: branch.sha for branch in yard.forge.branches(project())} == {"main": first, name: sha}
    pull = yard.forge.open_pull(project(), head=name, base="main", title="t", body="")
    assert yard.forge.merge(project(), pull, sha=sha, message="m").state == "merged"
    assert yard.forge.delete_branch(project(), name, sha)


def test_a_bundle_at_a_commit_has_the_branch_there_and_leaves_no_trace(yard):
    first = seeded(yard)
    sha = delivered(yard, "rdev/two", first, "two", {"two.txt": "2\n"})
    with yard.forge.bundle(project(), sha) as bundle:
        assert yard.unpacked(bundle) == sha
    assert yard.branches() == {"main": first, "rdev/two": sha}
    with pytest.raises(NotFound), yard.forge.bundle(project(), "f" * 40):
        pass


def test_a_rescue_branch_is_never_written_over(yard):
    first = seeded(yard)
    ahead = delivered(yard, "main", first, "ahead", {"main.txt": "m\n"})
    made = {}
    for subject in ("one", "two"):
        sha, bundle = yard.pod_changes(first, subject, {f"{subject}.txt": "x\n"})
        delivery = yard.forge.receive(project(), bundle, sha=sha, rescue="rdev/rescue/x")
        assert delivery.rescued
        made[delivery.branch] = sha
    assert sorted(made) == ["rdev/rescue/x", "rdev/rescue/x-2"]
    assert yard.branches() == {"main": ahead, **made}


def test_what_a_commit_holds(yard):
    first = seeded(yard)
    sha = delivered(yard, "rdev/two", first, "two", {"two.txt": "2\n", "big": "x" * (ONE_FILE + 1)})
    assert yard.forge.read(project(), first, "README.md") == b"# shop\n"
    assert yard.forge.read(project(), sha, "two.txt") == b"2\n"
    for path in ("two", "scripts", "scripts/", "", "../two.txt", "two.txt/x", "./two.txt", ":(top)two.txt", "*.txt", "--help"):
        assert yard.forge.read(project(), sha, path) is None, path
    with pytest.raises(Invalid) as large:
        yard.forge.read(project(), sha, "big")
    assert large.value.code == "TOO_LARGE"
    assert yard.forge.tree(project(), first) == yard.forge.tree(project(), first) != yard.forge.tree(project(), sha)
    for call in (lambda: yard.forge.tree(project(), "f" * 40), lambda: yard.forge.read(project(), "--help", "README.md")):
        with pytest.raises(NotFound):
            call()


def test_how_commits_stand_to_each_other(yard):
    first = seeded(yard)
    one = delivered(yard, "one", first, "one", {"one.txt": "1\n"})
    two = delivered(yard, "two", first, "two", {"two.txt": "2\n"})
    assert [yard.forge.ancestor(project(), a, b) for a, b in ((first, one), (one, one), (one, first), (one, two), ("f" * 40, one))] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert yard.forge.merge_base(project(), one, two) == first


def test_what_a_change_changes(yard):
    first = seeded(yard)
    sha = delivered(yard, "rdev/two", first, "two", {"two.txt": "1\n2\n", "README.md": None})
    whole = yard.forge.changes(project(), first, sha)
    assert [(file.path, file.added, file.removed, file.size) for file in whole.files] == [("README.md", 0, 1, 0), ("two.txt", 2, 0, 4)]
    assert b"two.txt" in whole.patch
    assert not whole.cut
    part = yard.forge.changes(project(), first, sha, most=10)
    assert (part.patch, part.cut, part.patch_sha256) == (whole.patch[:10], True, whole.patch_sha256)
    assert yard.forge.changes(project(), first, first).files == ()


def test_every_content_of_a_history_is_seen_also_what_its_end_holds_no_more(yard):
    first = seeded(yard)
    one = delivered(yard, "rdev/two", first, "one", {"secret.txt": "token\n", "long": "y" * (ONE_FILE + 7)})
    two = delivered(yard, "rdev/three", one, "two", {"secret.txt": None, "kept.txt": "k\n"})
    added = {path: (size, head) for path, size, head in yard.forge.blobs_added(project(), first, two)}
    assert added == {"secret.txt": (6, b"token\n"), "kept.txt": (2, b"k\n"), "long": (ONE_FILE + 7, b"y" * ONE_FILE)}
    assert list(yard.forge.blobs_added(project(), two, two)) == []


def test_a_pull_request_is_opened_once_merged_once_and_stays_known(yard):
    first = seeded(yard)
    sha = delivered(yard, "rdev/two", first, "two", {"two.txt": "2\n"})
    pull = yard.forge.open_pull(project(), head="rdev/two", base="main", title="Two", body="Because")
    assert (pull.head, pull.base, pull.sha, pull.state, pull.title, pull.merged) == ("rdev/two", "main", sha, "open", "Two", "")
    assert yard.forge.open_pull(project(), head="rdev/two", base="main", title="Again", body="") == pull
    assert yard.forge.find_pull(project(), "rdev/two", "main") == pull == yard.forge.pull(project(), pull.number)
    yard.forge.comment(project(), pull.number, "looks good")
    merged = yard.forge.merge(project(), pull, sha=sha, message="Merge two")
    assert (merged.state, merged.number) == ("merged", pull.number)
    assert merged.merged == yard.branches()["main"]
    assert yard.forge.ancestor(project(), sha, merged.merged)
    assert yard.forge.commit(project(), merged.merged).subject == "Merge two"
    assert yard.forge.merge(project(), pull, sha=sha, message="Again") == merged == yard.forge.pull(project(), pull.number)
    assert yard.forge.find_pull(project(), "rdev/two", "main") is None
    yard.forge.close_pull(project(), pull.number)
    assert yard.forge.pull(project(), pull.number) == merged


def test_a_pull_request_needs_two_branches_that_are_there(yard):
    seeded(yard)
    with pytest.raises(Invalid):
        yard.forge.open_pull(project(), head="main", base="main", title="t", body="")
    for head, base in (("none", "main"), ("main", "none")):
        with pytest.raises(NotFound):
            yard.forge.open_pull(project(), head=head, base=base, title="t", body="")
    with pytest.raises(NotFound):
        yard.forge.pull(project(), 77)


def test_a_head_that_moved_is_not_merged(yard):
    first = seeded(yard)
    sha = delivered(yard, "rdev/two", first, "two", {"two.txt": "2\n"})
    pull = yard.forge.open_pull(project(), head="rdev/two", base="main", title="t", body="")
    newer, bundle = yard.pod_changes(sha, "newer", {"newer.txt": "n\n"})
    yard.forge.receive(project(branch="rdev/two"), bundle, sha=newer, rescue="no")
    with pytest.raises(Conflict) as moved:
        yard.forge.merge(project(), pull, sha=sha, message="m")
    assert moved.value.code == "HEAD_MOVED"
    assert yard.branches()["main"] == first
    assert yard.forge.pull(project(), pull.number).sha == newer


def test_a_conflict_is_told_with_its_files_and_nothing_is_forced(yard):
    first = seeded(yard)
    sha = delivered(yard, "rdev/two", first, "two", {"README.md": "# mine\n"})
    pull = yard.forge.open_pull(project(), head="rdev/two", base="main", title="t", body="")
    theirs = delivered(yard, "main", first, "theirs", {"README.md": "# theirs\n"})
    with pytest.raises(Conflict) as conflict:
        yard.forge.merge(project(), pull, sha=sha, message="m")
    assert (conflict.value.code, tuple(conflict.value.context["files"])) == ("MERGE_CONFLICT", ("README.md",))
    assert yard.branches() == {"main": theirs, "rdev/two": sha}
    assert yard.forge.pull(project(), pull.number).state == "open"


def test_both_sides_of_a_merge_are_in_it(yard):
    first = seeded(yard)
    sha = delivered(yard, "rdev/two", first, "two", {"two.txt": "2\n"})
    delivered(yard, "main", first, "theirs", {"theirs.txt": "t\n"})
    pull = yard.forge.open_pull(project(), head="rdev/two", base="main", title="t", body="")
    merged = yard.forge.merge(project(), pull, sha=sha, message="m").merged
    assert [yard.forge.read(project(), merged, path) for path in ("two.txt", "theirs.txt")] == [b"2\n", b"t\n"]


def test_a_closed_pull_request_is_not_merged_and_another_can_be_opened(yard):
    first = seeded(yard)
    sha = delivered(yard, "rdev/two", first, "two", {"two.txt": "2\n"})
    pull = yard.forge.open_pull(project(), head="rdev/two", base="main", title="t", body="")
    for _ in (1, 2):
        yard.forge.close_pull(project(), pull.number)
    assert yard.forge.pull(project(), pull.number).state == "closed"
    with pytest.raises(Conflict) as closed:
        yard.forge.merge(project(), pull, sha=sha, message="m")
    assert closed.value.code == "PULL_CLOSED"
    assert yard.forge.open_pull(project(), head="rdev/two", base="main", title="t", body="").number != pull.number


def test_who_is_admitted_is_known_until_dismissed(yard):
    first = seeded(yard)
    now = datetime(2027, 1, 2, tzinfo=UTC)
    access = Access(name=access_name("chk_01j9contract00000001", now), branch="rdev/chk_01j9contract00000001", expires_at=now)
    assert access.name == f"rdev-co-00000001-{int(now.timestamp())}"
    yard.forge.ensure_branch(project(), access.branch, first)
    before = yard.forge.admit(project(), access)
    after = yard.forge.admit(project(), access)  # as after a kill
    assert bool(after.account) is bool(after.token.reveal()) is yard.forge.accounts
    assert not yard.forge.accounts or before.token != after.token
    assert list(yard.forge.admitted()) == [access]
    assert list(yard.another().admitted()) == []
    later = Access(name=access.name, branch=access.branch, expires_at=now + timedelta(hours=1))
    name = yard.forge.extend(project(), later)
    assert name == access_name("chk_01j9contract00000001", later.expires_at)
    assert yard.forge.extend(project(), later) == name
    assert [(one.name, one.expires_at) for one in yard.forge.admitted()] == [(name, later.expires_at)]
    assert [yard.forge.dismiss(access.name) for _ in (1, 2)] == [True, False]  # under the time it had first
    assert list(yard.forge.admitted()) == []
    with pytest.raises(NotFound):
        yard.forge.extend(project(), later)
