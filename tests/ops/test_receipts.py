"""Receipts: signed once, held against what is there, every change of them seen and named, and run again."""

import json
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature

from rdev_cli.adapters.sqlite.entries import in_keyring
from rdev_cli.domain.codec import plain, to_json
from rdev_cli.domain.errors import Conflict, Invalid, NotFound, Unavailable
from rdev_cli.domain.project import ProjectSpec
from rdev_cli.domain.receipt import parsed
from rdev_cli.domain.report import Verdict as Found
from rdev_cli.domain.review import CheckRun, Finding, Receipt, Severity, Signer, Step, Verdict
from rdev_cli.domain.values import Secret
from rdev_cli.ops import checks, known, projects, receipts
from tests.fakes.forge import commit
from tests.fakes.world import MemoryWorld

pytestmark = pytest.mark.state
FIELDS = [field.name for field in fields(Receipt)]


def written(world: MemoryWorld, *lines: str, **more: Any) -> Receipt:
    """Check the newest commit of `shop` with these lines, and write the receipt."""
    project = known.project(world, "shop")
    sha = world.forge.head(project)
    base = world.forge.repositories["shop"].commits[sha]["parent"] or sha
    steps = [Step(name=f"step {at}", lines=(line,)) for at, line in enumerate(lines or ("echo one", "false"))]
    checked = checks.run(world, project, sha, steps)
    values: dict[str, Any] = {
        "branch": "rdev/chk_1", "target": "main", "base": base, "commit": sha, "tree": checked.tree, "image": checked.image,
        "diff_sha256": world.forge.changes(project, base, sha).patch_sha256, "verdict": checked.verdict, "checks": checked.runs,
        "findings": (Finding(severity=Severity.NOTE, source="agent", message="é\u202e", file="a.py", line=3),), "session": "ses_1",
        "checkout": "chk_1", "agent": "claude", "model": "m", "input_tokens": 5, "output_tokens": 7,
    }  # fmt: skip
    return receipts.write(world, project, **{**values, **more})


def put(world: MemoryWorld, **files: str) -> str:
    found = world.forge.repositories["shop"]
    before = found.commits[found.branches["main"]]["files"]
    found.branches["main"] = commit(found.commits, found.branches["main"], "more", {**before, **files})
    return found.branches["main"]


def bad(world: MemoryWorld, what: Receipt | bytes | str) -> dict[str, str]:
    """Return what a verification holds against a receipt: the failed looks, with their words."""
    given = what.id if isinstance(what, Receipt) else what
    return {check.name: check.found for check in receipts.verify(world, given) if check.verdict is Found.FAILED}


def document(receipt: Receipt, **changed: Any) -> bytes:
    return json.dumps({**plain(receipt), **changed}).encode()


def tampered(world: MemoryWorld, sql: str, *values: Any) -> None:
    """Change the state behind rdev's back."""
    world.store.close()
    with closing(sqlite3.connect(world.folder / "state.db")) as connection, connection:
        assert connection.execute(sql, values).rowcount == 1


def test_an_honest_receipt_holds_by_its_id_by_a_beginning_and_as_a_document(world):
    put(world, **{"new.txt": "new\n"})
    one = written(world)
    found = receipts.verify(world, one.id)
    assert {check.verdict for check in found} == {Found.OK}, found
    assert [check.name for check in found] == ["signature", "signer", "journal", "tree", "diff", "command", "output"]
    assert (
        receipts.verify(world, one.id[:-6])
        == receipts.verify(world, document(one))
        == receipts.verify(world, to_json(one).encode())
        == found
    )
    assert receipts.show(world, one.id) == one
    assert receipts.list_(world, "shop").items == (one,)


def test_a_receipt_comes_back_as_it_was_signed(world):
    one = written(world)
    assert world.store.find(Receipt, one.id) == one
    assert parsed(to_json(one).encode()) == (one, [])
    assert world.signing.holds(one.signer, one.signature, receipts.body(one))


def other(value: Any) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, list):
        return value[:-1] if value else [{}]
    if isinstance(value, int):
        return value + 1
    if value in ("passed", "failed"):
        return "passed" if value == "failed" else "failed"
    if isinstance(value, str) and value.endswith("Z"):
        return value.replace("20", "21", 1)
    if isinstance(value, str) and len(value) in (44, 88) and value.endswith("="):
        return ("B" if value[0] == "A" else "A") + value[1:]
    return value[:-1] + ("0" if value[-1] != "0" else "1")


@pytest.mark.parametrize("name", FIELDS)
def test_a_change_of_any_field_of_a_document_is_seen_and_named(world, name):
    one = written(world)
    changed = {name: other(plain(one)[name])}
    assert changed[name] != plain(one)[name]
    if name == "project":
        projects.create(world, ProjectSpec(name=changed[name]))
    found = bad(world, document(one, **changed))
    if name in ("id", "project"):  # nothing here is about the receipt that it says it is
        assert "signature" in found
    elif name == "signature":
        assert found["signature"].startswith("it does not fit: signature was changed")
    else:
        assert found["signature"] == f"it does not fit: {name} was changed"
    assert name == "id" or "signer" in found or "journal" in found


@pytest.mark.parametrize("name", FIELDS)
def test_a_change_of_any_field_in_the_state_is_seen_and_named(world, name):
    one = written(world)
    if name == "id":
        tampered(world, "update receipts set id = 'rcp_00000000000000000000'")
        assert "signature" in bad(world, "rcp_00000000000000000000")
        return
    if name in ("project", "project_id"):
        projects.create(world, ProjectSpec(name="more"))
        value = "more" if name == "project" else known.project(world, "more").id
    else:
        value = other(plain(one)[name])
    tampered(world, f'update receipts set "{name}" = ?', json.dumps(value) if isinstance(value, list) else value)
    found = bad(world, one.id)
    assert f"{name} was changed" in found["signature"]


@pytest.mark.parametrize("name", [field.name for field in fields(CheckRun)])
def test_a_change_of_any_part_of_a_command_is_seen(world, name):
    one = written(world)
    runs = plain(one)["checks"]
    runs[1][name] = {"step": "x", "line": "x", "command": "cmd_x", "exit_code": 0, "reason": "timeout", "duration_ms": 123456}.get(
        name, "0" * 64
    )
    found = bad(world, document(one, checks=runs))
    assert found["signature"] == "it does not fit: checks was changed"
    del runs[1][name]
    with pytest.raises(Invalid, match="its checks is none"):
        receipts.verify(world, document(one, checks=runs))


@pytest.mark.parametrize("name", [field.name for field in fields(Finding)])
def test_a_change_of_any_part_of_a_finding_is_seen(world, name):
    one = written(world)
    found = plain(one)["findings"]
    found[0][name] = {"severity": "error", "line": 4}.get(name, "x")
    assert bad(world, document(one, findings=found))["signature"] == "it does not fit: findings was changed"


def test_a_document_is_exactly_what_was_printed(world):
    one = written(world)
    text = to_json(one)
    told = {
        json.dumps({**plain(one), "more": 1}): "more (which no receipt has)",
        text[:-1] + ',"commit":"' + one.commit + '"}': "commit (twice)",
        text.replace('"duration_ms":', '"more":1,"duration_ms":', 1): "checks",
        text.replace(plain(one)["created_at"], plain(one)["created_at"].replace("Z", "+00:00")): "created_at",
    }
    for document, named in told.items():
        assert bad(world, document.encode())["signature"] == f"the document is not as it was signed: {named}"
    spaced = json.dumps(plain(one), indent=2).encode()  # how it is laid out says nothing
    assert bad(world, spaced) == {}


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"1", b'"x"', b"{}", b"\xff", b"[" * 100_000, b'{"id": NaN}'])
def test_what_is_no_receipt_is_refused(world, data):
    with pytest.raises(Invalid) as caught:
        receipts.verify(world, data)
    assert "receipt show" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("commit", "main"), ("commit", "--all"), ("commit", ""), ("base", "HEAD"), ("project", 5), ("checks", {}), ("checks", [1]), ("created_at", "now"),
        ("created_at", "2026-01-01T00:00:00"), ("verdict", "maybe"), ("input_tokens", True), ("input_tokens", 1.0), ("input_tokens", 10**30), ("agent", "\ud800"), ("findings", None),
    ],
)  # fmt: skip
def test_a_field_that_holds_what_it_cannot_is_refused(world, name, value):
    with pytest.raises(Invalid):
        receipts.verify(world, document(written(world), **{name: value}))


def test_a_signature_has_one_way_to_be_written(world):
    one = written(world)
    spoiled = one.signature[:-3] + chr(ord(one.signature[-3]) + 1) + "=="  # the same bytes, with other bits behind them
    assert not world.signing.holds(one.signer, spoiled, receipts.body(one))
    for nonsense in ("", "A", "=" * 88, one.signature + "\n", "é"):
        assert not world.signing.holds(one.signer, nonsense, receipts.body(one))
        assert not world.signing.holds(nonsense, one.signature, receipts.body(one))


def test_whoever_has_a_document_can_hold_it_against_its_signature_without_rdev(world, tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "docs" / "receipts.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    one = written(world, branch="rdev/é\u202e")
    (tmp_path / "kept.json").write_text(to_json(one), encoding="utf-8")
    exec(program, {})
    (tmp_path / "kept.json").write_text(to_json(replace(one, verdict=Verdict.PASSED)), encoding="utf-8")
    with pytest.raises(InvalidSignature):
        exec(program, {})


# what it is held against


def test_a_line_of_a_log_that_was_changed_is_seen(world):
    one = written(world)
    path = world.spool.path(one.checks[0].command, "out")
    path.write_bytes(b"two\n")
    assert bad(world, one) == {"output": f"what {one.checks[0].command} wrote on stdout was changed since"}
    path.write_bytes(b"one\n")
    assert bad(world, one) == {}
    world.spool.path(one.checks[1].command, "err").write_bytes(b"more")
    assert bad(world, one) == {"output": f"what {one.checks[1].command} wrote on stderr was changed since"}


def test_an_output_that_is_not_kept_any_more_is_told_and_no_fault(world):
    one = written(world)
    world.spool.drop(one.checks[0].command)
    found = {check.name: check for check in receipts.verify(world, one.id)}
    assert (found["output"].verdict, found["output"].found) == (Found.WARNING, "3 of 4 outputs are kept, and what they were")


def test_a_command_that_is_recorded_with_another_end_is_seen(world):
    one = written(world)
    tampered(world, "update commands set exit_code = 0 where id = ?", one.checks[1].command)
    assert "command" in bad(world, one)


def test_one_file_that_was_changed_after_the_tests_is_another_tree(world):
    one = written(world)
    sha = put(world, **{"README.md": "changed\n"})
    assert bad(world, document(one, commit=sha))["tree"].startswith(f"{sha[:10]} has another")
    forge = world.forge.repositories["shop"]
    forge.commits[one.commit] = {**forge.commits[one.commit], "files": {"README.md": "changed\n"}}  # behind the forge's back
    assert set(bad(world, one)) >= {"tree"}


def test_a_diff_that_is_not_the_one_that_was_looked_at_is_seen(world):
    put(world, a="1\n")
    one = written(world, diff_sha256="0" * 64)
    assert set(bad(world, one)) == {"diff"}


def test_a_commit_that_is_gone_is_told_and_no_fault(world):
    sha = put(world, a="1\n")
    one = written(world)
    forge = world.forge.repositories["shop"]
    forge.branches["main"] = forge.commits.pop(sha)["parent"]
    found = {check.name: check.verdict for check in receipts.verify(world, one.id)}
    assert found["tree"] is Found.WARNING
    with pytest.raises(NotFound, match="does not have"):
        receipts.replay(world, one.id)


# keys


def test_a_project_has_one_key_and_it_stands_in_the_journal_and_not_in_clear_anywhere(world):
    one, two = written(world), written(world)
    (signer,) = world.store.some(Signer)
    assert one.signer == two.signer == signer.public_key
    (line,) = world.store.events(after=0, subject=signer.id)
    assert (line.kind, line.data, line.project) == ("signer.created", {"project": "shop", "public_key": signer.public_key}, "shop")
    private = world.vaults.at(signer.place).get(signer.id)
    assert private is not None
    secret = private.reveal().encode()
    for path in world.folder.rglob("*"):
        assert not path.is_file() or secret not in path.read_bytes(), path


def test_a_key_that_was_put_in_the_place_of_the_projects_own_signs_nothing(world):
    written(world)
    (signer,) = world.store.some(Signer)
    with world.vaults.alone():
        world.vaults.chosen().put({signer.id: world.signing.new_key()[0]})
    with pytest.raises(Unavailable) as caught:
        written(world)
    assert caught.value.code == "VAULT_DAMAGED"
    with world.vaults.alone():
        world.vaults.chosen().put({signer.id: Secret("no key")})
    with pytest.raises(Unavailable):
        written(world)


def test_a_forged_key_is_noticed_though_its_signature_fits(world):
    one = written(world)
    key, public = world.signing.new_key()
    bare = replace(one, signer=public, verdict=Verdict.PASSED, signature="")
    forged = replace(bare, signature=world.signing.sign(key, receipts.body(bare)))
    found = bad(world, document(forged))
    assert "signature" not in found
    assert found["signer"].startswith("this key never signed for shop here")
    assert found["journal"] == "it was written with another verdict, signer, signature"
    tampered(world, "update signers set public_key = ?", public)  # and whoever can write the state can do so
    assert bad(world, document(forged))["signer"].startswith("the journal tells of another key")
    with world.store.transaction() as tx:
        (signer,) = world.store.some(Signer)
        tx.put(replace(signer, id="sgn_forged"))
    found = {check.name: check for check in receipts.verify(world, document(forged))}
    assert found["signer"].verdict is not Found.OK


def test_a_key_that_the_vault_lost_is_made_anew_and_what_it_signed_still_holds(world):
    one = written(world)
    (signer,) = world.store.some(Signer)
    with world.vaults.alone():
        world.vaults.chosen().drop(signer.id)
    two = written(world)
    assert two.signer != one.signer
    assert bad(world, one) == bad(world, two) == {}
    assert [event.kind for event in world.store.events(after=0, limit=1000)].count("signer.created") == 2


def test_two_that_sign_first_at_once_make_one_key(world):
    project = known.project(world, "shop")

    def sign() -> str:
        try:
            return receipts._signing(world, project)[0].public_key
        finally:
            world.store.close()

    with ThreadPoolExecutor(6) as pool:
        made = [future.result() for future in [pool.submit(sign) for _ in range(6)]]
    assert len(set(made)) == len(world.store.some(Signer)) == 1


def test_a_key_that_could_not_be_recorded_is_not_kept(world):
    project = known.project(world, "shop")
    projects.delete(world, "shop")
    with pytest.raises(NotFound):
        receipts._signing(world, project)
    vault = world.folder / "vault.json"
    assert not vault.exists() or "sgn_" not in vault.read_text()


def test_a_key_in_the_keyring_is_known_to_whoever_uninstalls(world):
    written(world)
    assert in_keyring(world.folder / "state.db") == []
    (signer,) = world.store.some(Signer)
    with world.store.transaction() as tx:
        tx.put(replace(signer, place="keyring"))
    assert in_keyring(world.folder / "state.db") == [signer.id]


def test_the_same_id_is_one_receipt(world):
    one = written(world, id="rcp_00000000000000000001")
    again = written(world, id="rcp_00000000000000000001", verdict=Verdict.PASSED)
    assert again == one
    assert receipts.of(world, known.project(world, "shop"), one.commit, target="main") == one
    assert receipts.of(world, known.project(world, "shop"), one.commit, target="other") is None


def test_receipts_and_keys_go_with_their_project(world):
    one = written(world)
    (signer,) = world.store.some(Signer)
    vault = world.vaults.at(signer.place)
    projects.delete(world, "shop")
    assert not vault.holds(signer.id)
    assert [*world.store.some(Signer), *world.store.some(Receipt)] == []
    projects.create(world, ProjectSpec(name="shop"))
    assert receipts.list_(world, "shop").items == ()
    assert "another project that was called shop" in bad(world, document(one))["signer"]


def test_what_has_no_receipt_is_not_found(world):
    for call in (receipts.show, receipts.verify, receipts.replay):
        with pytest.raises(NotFound):
            call(world, "rcp_0000")
        with pytest.raises(Invalid):
            call(world, "cmd_0000")
    with pytest.raises(NotFound):
        receipts.list_(world, "none")
    with pytest.raises(NotFound):
        receipts.verify(world, document(written(world), project="none"))


# once more


def test_an_honest_receipt_replays_equal(world):
    one = written(world, "echo one", "false", "true")
    found = receipts.replay(world, one.id)
    assert (found.verdict, found.tree, found.image) == (Verdict.PASSED, "equal", "equal")
    assert [(r.recorded, r.replayed, r.equal, r.stdout, r.stderr) for r in found.runs] == [
        (0, 0, True, "equal", "equal"), (1, 1, True, "equal", "equal"), (0, 0, True, "equal", "equal"),
    ]  # fmt: skip
    assert {r.command for r in found.runs}.isdisjoint({r.command for r in one.checks})


def test_what_was_not_run_is_not_run_again(world):
    project, sha = known.project(world, "shop"), world.forge.head(known.project(world, "shop"))
    steps = [
        Step(name="a", lines=("false", "echo never")),
        Step(name="b", lines=("true",), depends_on=("a",)),
        Step(name="c", lines=("true",)),
    ]
    runs = checks.run(world, project, sha, steps).runs
    one = written(world, checks=runs)
    found = receipts.replay(world, one.id)
    assert [(r.step, r.line) for r in found.runs] == [("a", "false"), ("c", "true")]
    assert found.verdict is Verdict.PASSED
    assert bad(world, one) == {}


def test_a_receipt_that_says_another_end_does_not_replay(world):
    project, sha = known.project(world, "shop"), world.forge.head(known.project(world, "shop"))
    (run,) = checks.run(world, project, sha, [Step(name="a", lines=("false",))]).runs
    one = written(world, checks=(replace(run, exit_code=0),), verdict=Verdict.PASSED)
    found = receipts.replay(world, one.id)
    assert (found.verdict, found.runs[0].recorded, found.runs[0].replayed, found.runs[0].equal) == (Verdict.FAILED, 0, 1, False)
    lied = written(world, checks=(run,), tree="0" * 40)
    assert (receipts.replay(world, lied.id).verdict, receipts.replay(world, lied.id).tree) == (Verdict.FAILED, "differs")
    printed = written(world, checks=(replace(run, stdout_sha256="0" * 64),))
    again = receipts.replay(world, printed.id)
    assert (again.verdict, again.runs[0].stdout) == (Verdict.PASSED, "differs")


def test_what_was_changed_is_not_run(world):
    one = written(world)
    runs = [{**run, "line": "touch owned"} for run in plain(one)["checks"]]
    started = len(world.cluster.runs)
    tampered(world, "update receipts set checks = ?", json.dumps(runs))
    with pytest.raises(Conflict) as caught:
        receipts.replay(world, one.id)
    assert caught.value.code == "RECEIPT_CHANGED"
    assert len(world.cluster.runs) == started


def test_a_receipt_without_a_command_has_nothing_to_replay(world):
    one = written(world, checks=())
    assert bad(world, one) == {}
    with pytest.raises(Invalid):
        receipts.replay(world, one.id)
