"""Who has a checkout's token at a real Gitea can write the checkout's branch, and nothing else in any way. T-CO-3."""

import secrets
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rdev_cli.adapters.gitea.calling import Gitea
from rdev_cli.adapters.gitea.forge import GiteaForge
from rdev_cli.domain.errors import Conflict, Denied
from rdev_cli.domain.values import Secret
from rdev_cli.ports.forge import Access, access_name
from rdev_cli.ports.timing import Stop
from tests.support.yards import GiteaYard, given, project

pytestmark = pytest.mark.providers
FILES = {"README.md": (b"# shop\n", False)}


@dataclass
class Holder:
    """Somebody with a checkout."""

    yard: GiteaYard
    folder: Path
    access: Access
    token: str
    first: str

    def git(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder.parent), "GIT_TERMINAL_PROMPT": "0", **given(self.token)}
        env |= {f"GIT_{role}_{what}": "u@x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        return subprocess.run(["git", "-C", str(self.folder), *argv], env=env, capture_output=True, text=True, check=False)

    def push(self, *refs: str, to: str = "origin") -> bool:
        return self.git("push", "-q", to, *refs).returncode == 0

    def commit(self) -> str:
        assert self.git("commit", "-q", "--allow-empty", "-m", "work").returncode == 0
        return self.git("rev-parse", "HEAD").stdout.strip()

    def api(self, method: str, path: str, body: str = "", *, authorization: str = "") -> int:
        headers = {"Authorization": authorization or f"token {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.yard.url}/api/v1{path}", body.encode() or None, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as e:
            e.close()
            return e.code


def fresh() -> str:
    """Return the id of a checkout; its end and the second in which it ends are the name of an account, and no two may be the same one."""
    return f"chk_01j9holders0{secrets.token_hex(4)}"


def held(yard: GiteaYard, tmp_path: Path, id: str, branch: str = "") -> Holder:
    """Let somebody in; return it with a clone."""
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=8)
    access = Access(name=access_name(id, until), branch=branch or f"rdev/{id}", expires_at=until)
    first = yard.forge.head(project())
    yard.forge.ensure_branch(project(), access.branch, first)
    admitted = yard.forge.admit(project(), access)
    holder = Holder(yard, tmp_path / id, access, admitted.token.reveal(), first)
    holder.folder.mkdir()
    done = holder.git("clone", "-q", "-b", access.branch, yard.forge.url("shop"), ".")
    assert done.returncode == 0, done.stderr
    assert not any(admitted.token.reveal() in path.read_text(errors="replace") for path in holder.folder.rglob("*") if path.is_file())
    return holder


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[GiteaYard]:
    made = GiteaYard(tmp_path)
    made.forge.ensure_repository(project())
    made.forge.seed(project(), FILES)
    made.forge.ensure_branch(project(), "other", made.forge.head(project()))
    yield made
    made.close()


def test_t_co_3_a_holder_writes_its_branch_forward_and_no_other_ref_in_any_way(yard, tmp_path):
    one = held(yard, tmp_path, fresh())
    two = held(yard, tmp_path, fresh())  # the second, behind the rule for all branches
    before = yard.branches()
    sha = one.commit()
    assert one.push(f"HEAD:{one.access.branch}")
    assert two.push(f"HEAD:{two.access.branch}")
    refs = ("main", "other", "new", "rdev/new", two.access.branch, "rdev/rescue/x", f"{one.access.branch}-2", "feature/a/b/c")
    refused = {
        **{f"push {ref}": one.push(f"HEAD:refs/heads/{ref}") for ref in refs},
        **{f"force {ref}": one.push(f"+HEAD:refs/heads/{ref}") for ref in refs},
        **{f"delete {ref}": one.push(f":refs/heads/{ref}") for ref in ("main", "other", two.access.branch, one.access.branch)},
        "force its own back": one.push(f"+{one.first}:refs/heads/{one.access.branch}"),
        "a tag": one.push("HEAD:refs/tags/v1"),
        "a tag below": one.push("HEAD:refs/tags/a/b"),
    }
    assert not [what for what, done in refused.items() if done]
    assert yard.branches() == {**before, one.access.branch: sha}


def test_t_co_3_a_holders_token_reaches_nothing_else(yard, tmp_path):
    one = held(yard, tmp_path, fresh())
    other = project("other", "prj_01j9contract00000009")
    yard.forge.ensure_repository(other)
    yard.forge.seed(other, FILES)
    one.commit()
    assert not one.push("HEAD:main", to=yard.forge.url("other"))
    assert one.git("ls-remote", yard.forge.url("other")).returncode != 0
    here, there, me = f"/repos/{yard.owner}/shop", f"/repos/{yard.owner}/other", f"/users/{one.access.name}"
    basic = "Basic " + b64encode(f"{one.access.name}:{one.token}".encode()).decode()
    first = yard.forge.head(project())
    tries = [
        ("GET", there, ""), ("GET", "/admin/users", ""), ("POST", "/admin/users", '{"username":"evil","email":"e@x.invalid","password":"x1234567"}'),
        ("POST", "/user/repos", '{"name":"mine"}'), ("POST", "/orgs", '{"username":"evil-org"}'),
        ("PATCH", here, '{"private":false}'), ("DELETE", here, ""), ("PUT", f"{here}/topics", '{"topics":["x"]}'),
        ("POST", f"{here}/branches", '{"new_branch_name":"api"}'), ("DELETE", f"{here}/branches/other", ""),
        ("PATCH", f"{here}/branches/other", '{"name":"api"}'), ("POST", f"{here}/tags", '{"tag_name":"v2"}'),
        ("POST", f"{here}/releases", '{"tag_name":"v3","name":"v3"}'),
        ("POST", f"{here}/contents/evil.txt", '{"content":"eA==","branch":"main","message":"m"}'),
        ("POST", f"{here}/contents/evil.txt", '{"content":"eA==","branch":"main","new_branch":"api","message":"m"}'),
        ("POST", f"{here}/branch_protections", '{"rule_name":"x","enable_push":true}'), ("DELETE", f"{here}/branch_protections/%2A%2A", ""),
        ("POST", f"{here}/hooks", '{"type":"gitea","config":{"url":"http://x.invalid","content_type":"json"}}'),
        ("POST", f"{here}/keys", '{"title":"k","key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"}'),
        ("PUT", f"{here}/collaborators/{one.access.name}", '{"permission":"admin"}'), ("PUT", f"{here}/actions/secrets/X", '{"data":"x"}'),
        ("POST", f"{here}/wiki/new", '{"title":"x","content_base64":"eA=="}'), ("GET", "/user", ""),
        ("PATCH", "/user/settings", '{"full_name":"x"}'), ("POST", "/user/emails", '{"emails":["e@x.invalid"]}'),
    ]  # fmt: skip
    answers = {f"{method} {path}": one.api(method, path, body) for method, path, body in tries}
    for authorization in ("", basic):
        answers[f"POST tokens {authorization[:5]}"] = one.api(
            "POST", f"{me}/tokens", '{"name":"more","scopes":["all"]}', authorization=authorization
        )
        answers[f"GET tokens {authorization[:5]}"] = one.api("GET", f"{me}/tokens", authorization=authorization)
    answers["sudo"] = one.api("GET", "/user?sudo=rdev-admin")
    assert {what: status for what, status in answers.items() if status < 400} == {}
    assert yard.branches() == {"main": first, "other": first, one.access.branch: first}


def test_what_gitea_lets_nobody_forbid_a_copy_under_its_own_name_goes_with_the_holder(yard, tmp_path):
    one = held(yard, tmp_path, fresh())
    assert one.api("POST", f"/repos/{yard.owner}/shop/forks", "{}") == 202
    fork = f"/repos/{one.access.name}/shop"
    assert yard.api.get(fork)["private"]
    yard.forge.dismiss(one.access.name)
    assert yard.api.get(fork) is None
    assert yard.api.get(f"/repos/{yard.owner}/shop")


def test_t_co_3_a_holder_merges_nothing(yard, tmp_path):
    one = held(yard, tmp_path, fresh())
    sha = one.commit()
    assert one.push(f"HEAD:{one.access.branch}")
    pull = yard.forge.open_pull(project(), head=one.access.branch, base="main", title="t", body="")
    path = f"/repos/{yard.owner}/shop/pulls/{pull.number}"
    body = f'{{"Do":"merge","head_commit_id":"{sha}"}}'
    assert one.api("POST", f"{path}/merge", body) >= 400
    assert one.api("POST", f"{path}/merge", body[:-1] + ',"force_merge":true}') >= 400
    assert yard.forge.head(project()) == one.first
    assert yard.forge.merge(project(), pull, sha=sha, message="m").state == "merged"  # and rdev does


def test_t_co_3_a_token_counts_no_more_once_its_holder_is_dismissed_and_the_others_go_on(yard, tmp_path):
    one, two = held(yard, tmp_path, fresh()), held(yard, tmp_path, fresh())
    one.commit(), two.commit()
    assert yard.forge.dismiss(one.access.name)
    assert one.git("ls-remote", "origin").returncode != 0
    assert not one.push(f"HEAD:{one.access.branch}")
    assert one.api("GET", f"/repos/{yard.owner}/shop") == 401
    assert two.push(f"HEAD:{two.access.branch}")
    assert not two.push("HEAD:main")
    assert [access.name for access in yard.forge.admitted()] == [two.access.name]
    yard.forge.dismiss(two.access.name)
    rules = f"/repos/{yard.owner}/shop"
    assert (yard.api.get(f"{rules}/branch_protections"), yard.api.get(f"{rules}/tag_protections")) == ([], [])
    assert yard.forge.delete_branch(project(), "other", one.first)


def test_while_somebody_has_a_checkout_rdev_writes_every_branch_and_removes_none(yard, tmp_path):
    one = held(yard, tmp_path, fresh())
    sha, bundle = yard.pod_commits(one.first, "ours")
    assert not yard.forge.receive(project(), bundle, sha=sha, rescue="rdev/rescue/x").rescued
    yard.forge.ensure_branch(project(), "more", sha)
    with pytest.raises(Conflict) as kept:
        yard.forge.delete_branch(project(), "more", sha)
    assert kept.value.code == "BRANCH_PROTECTED"
    assert yard.branches()["more"] == sha


def test_a_checkout_that_goes_on_keeps_its_token(yard, tmp_path):
    one = held(yard, tmp_path, fresh())
    later = Access(name=one.access.name, branch=one.access.branch, expires_at=one.access.expires_at + timedelta(hours=8))
    name = yard.forge.extend(project(), later)
    one.commit()
    assert one.push(f"HEAD:{one.access.branch}")
    assert not one.push("HEAD:main")
    assert [(access.name, access.branch) for access in yard.forge.admitted()] == [(name, one.access.branch)]
    assert yard.forge.dismiss(one.access.name)
    assert not one.push(f"HEAD:{one.access.branch}")


@pytest.mark.parametrize(
    "rule",
    [
        {"rule_name": "main", "enable_push": True},
        {"rule_name": "main", "enable_push": True, "enable_push_whitelist": True, "push_whitelist_usernames": ["rdev-admin"]},  # all merge
        {"rule_name": "**", "enable_push": True, "enable_force_push": True},
    ],
)
def test_a_rule_that_would_let_a_holder_write_elsewhere_is_refused_before_anything_is_made(yard, tmp_path, rule):
    yard.api.call("POST", f"/repos/{yard.owner}/shop/branch_protections", rule, ok=(201,))
    with pytest.raises(Conflict) as loose:
        held(yard, tmp_path, fresh())
    assert loose.value.code == "PROTECTION_LOOSE"
    assert list(yard.forge.admitted()) == []


def test_a_rule_of_peoples_own_stays_as_it_is(yard, tmp_path):
    own = {"enable_push_whitelist": True, "push_whitelist_usernames": ["rdev-admin"], "enable_merge_whitelist": True}
    rules = f"/repos/{yard.owner}/shop/branch_protections"
    yard.api.call("POST", rules, {"rule_name": "main", "enable_push": True, "merge_whitelist_usernames": ["rdev-admin"], **own}, ok=(201,))
    before = yard.api.get(rules)
    one = held(yard, tmp_path, fresh())
    one.commit()
    assert one.push(f"HEAD:{one.access.branch}")
    assert not one.push("HEAD:main")
    yard.forge.dismiss(one.access.name)
    assert yard.api.get(rules) == before


STEPS = ["/admin/users", "branch_protections", "tag_protections", "collaborators", "/tokens"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_t_co_1_a_death_at_any_step_of_letting_in_is_made_good_by_the_same_call_or_by_dismissing(yard, tmp_path, monkeypatch, step, when):
    class Death(BaseException):
        pass

    call, id = Gitea.call, fresh()

    def dying(self, method, path, body=None, **more):
        mine = method in ("POST", "PUT") and step in path
        if mine and when == "before":
            raise Death
        answer = call(self, method, path, body, **more)
        if mine:
            raise Death
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(Gitea, "call", dying)
        with pytest.raises(Death):
            held(yard, tmp_path, id)
    known = [access.name for access in yard.forge.admitted()]  # nothing of it is in any database
    assert len(known) == (0 if step == "/admin/users" and when == "before" else 1)
    one = held(yard, tmp_path, id)
    one.commit()
    assert one.push(f"HEAD:{one.access.branch}")
    assert not one.push("HEAD:main")
    assert not one.push("HEAD:refs/tags/x")
    assert len(yard.forge.admitted()) == 1
    with monkeypatch.context() as patch:
        patch.setattr(Gitea, "call", _cut(call, Death))
        with pytest.raises(Death):
            yard.forge.dismiss(one.access.name)
    assert not one.push(f"HEAD:{one.access.branch}")
    assert yard.forge.dismiss(one.access.name)
    assert (yard.forge.dismiss(one.access.name), list(yard.forge.admitted())) == (False, [])


def _cut(call, death):
    """Die behind the first thing that is taken away."""

    def dying(self, method, path, body=None, **more):
        answer = call(self, method, path, body, **more)
        if method == "DELETE":
            raise death
        return answer

    return dying


def test_a_token_that_is_no_administrators_keeps_projects_and_is_told_what_checkouts_need(yard, tmp_path):
    name, password = f"rdev-plain-{yard.installation[:8]}", Secret("a long enough password")
    wanted = {"username": name, "email": f"{name}@x.invalid", "password": password.reveal(), "must_change_password": False}
    yard.api.call("POST", "/admin/users", wanted, ok=(201,))
    try:
        scopes = {"name": "rdev", "scopes": ["write:repository", "write:user"]}
        token = Secret(yard.api.call("POST", f"/users/{name}/tokens", scopes, ok=(201,), as_user=(name, password)).data["sha1"])
        forge = GiteaForge(tmp_path / "plain", yard.installation, url=yard.url, owner="", token=lambda: token, stop=Stop)
        assert {check.name: check.verdict.value for check in forge.checks()} == {
            "forge": "ok", "forge.owner": "ok", "forge.accounts": "warning",
        }  # fmt: skip
        forge.ensure_repository(project())
        forge.seed(project(), FILES)
        until = datetime.now(UTC) + timedelta(hours=1)
        with pytest.raises(Denied) as refused:
            forge.admit(project(), Access(name=access_name(fresh(), until), branch="rdev/x", expires_at=until))
        assert "write:admin" in refused.value.hint
        assert list(forge.admitted()) == []
        assert forge.delete_repository(project())
        forge.close()
    finally:
        yard.api.call("DELETE", f"/admin/users/{name}", ok=(204, 404), query={"purge": "true"})


def test_a_token_that_nobody_knows_is_told(yard):
    api = Gitea(yard.url, lambda: Secret("nonsense"), Stop)
    with pytest.raises(Denied) as refused:
        api.call("GET", "/user", ok=(200,))
    assert refused.value.code == "FORGE_TOKEN"
    api.close()
