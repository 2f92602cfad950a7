"""Accounts of a while: a bot user of its own for each checkout, that may write one branch of one repository and nothing else.

Gitea's tokens neither end nor narrow to a repository, so the account does: it is restricted, makes nothing, has one collaboration, and is removed
with all it has. Its name says until when, its address whose it is, its full name for which repository, its description for which branch; so it is
found with an empty database.
"""

import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rdev_cli.adapters.gitea.calling import Gitea, at
from rdev_cli.domain.errors import Conflict, Denied, Invalid, NotFound, RdevError
from rdev_cli.domain.report import Check, Verdict
from rdev_cli.domain.values import Secret, shown
from rdev_cli.ports.forge import Access, Admitted

_NAME = re.compile(r"(rdev-co-[0-9a-z]{8})-([0-9]{1,12})")
_FULL = re.compile(r"rdev checkout in repository ([0-9]+)")
_WIDE = "**"
# the first rule that fits a branch counts, the smallest number first: each holder's own rule, those of people, then ours for all the rest
_NARROW_FIRST, _WIDE_LAST = 1, 1_000_000
_TAGS = "/.*/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account of a while."""

    name: str
    whose: str  # the name without its time
    until: int
    repository: int
    branch: str


class Holders:
    """Everybody that this installation let in at one Gitea."""

    def __init__(self, api: Gitea, installation: str) -> None:
        self._api, self._installation = api, installation

    def _mail(self, whose: str) -> str:
        return f"{whose}@{self._installation}.rdev.invalid"

    def _accounts(self) -> list[Account]:
        """Return the accounts of this installation."""
        found = []
        try:
            if not self._api.call("GET", "/user", ok=(200,)).data["is_admin"]:
                raise _no_admin("its user is no administrator")  # who would be shown some accounts, and no sign that there are more
            users = list(self._api.all("/users/search", query={"q": "rdev-co-"}))  # a Gitea may have thousands of others
        except Denied as e:
            raise (_no_admin(e.message) if e.code == "FORGE_DENIED" else e) from e
        for user in users:
            named, full = _NAME.fullmatch(str(user.get("login"))), _FULL.fullmatch(str(user.get("full_name")))
            if named and full and str(user.get("email")) == self._mail(named[1]):
                found.append(
                    Account(
                        name=str(user["login"]),
                        whose=named[1],
                        until=int(named[2]),
                        repository=int(full[1]),
                        branch=str(user["description"]),
                    )
                )
        return found

    def _account(self, whose: str) -> Account | None:
        return next((account for account in self._accounts() if account.whose == whose), None)

    def admitted(self) -> Sequence[Access]:
        """Return who is let in, with the branch that each may write; nobody where rdev may not even look at accounts, as it can have made none."""
        try:
            accounts = self._accounts()
        except Denied as e:
            if e.code != "FORGE_DENIED":
                raise
            return ()
        return [
            Access(name=account.name, branch=account.branch, expires_at=datetime.fromtimestamp(account.until, UTC)) for account in accounts
        ]

    def clear(self, repo: str) -> None:
        """Dismiss everybody who is let into a repository."""
        found, admitted = self._api.get(repo), {access.name for access in self.admitted()}
        for account in self._accounts() if found and admitted else ():
            if account.repository == found["id"]:
                self.dismiss(account.name)

    def _path(self, repository: int) -> str:
        """Return the path of a repository by its id, whatever it is called now; empty if it is gone."""
        found = self._api.get("/repositories" + at(repository))
        return "/repos" + at(*str(found["full_name"]).split("/")) if found else ""

    # coming

    def admit(self, repo: str, repository: int, access: Access, *, me: str) -> Admitted:
        """Let somebody in; the rules that hold it to its branch are there before it can do anything.

        Gitea leaves out of a rule who cannot write yet, so the account joins its own rule last, and only then gets a token.
        """
        self._no_loose_rules(repo, me)
        password = Secret(secrets.token_urlsafe(32))
        account = self._made(access, repository, password)
        self._rule(repo, _quoted(access.branch), [me], _NARROW_FIRST)
        self._rule(repo, _WIDE, [me], _WIDE_LAST)
        self._tag_rule(repo, me)
        self._api.call("PUT", f"{repo}/collaborators{at(account)}", {"permission": "write"}, ok=(204,))
        self._rule(repo, _quoted(access.branch), [me, account], _NARROW_FIRST)
        return Admitted(account=account, token=self._token(account, password))

    def _made(self, access: Access, repository: int, password: Secret) -> str:
        """Make the account, or take the one that is there under another time, and give it the password."""
        whose, _ = _split(access.name)
        there = self._account(whose)
        name = there.name if there else access.name
        if not there:
            wanted = {
                "username": name, "email": self._mail(whose), "full_name": f"rdev checkout in repository {repository}",
                "password": password.reveal(), "must_change_password": False, "restricted": True, "visibility": "private", "send_notify": False,
            }  # fmt: skip
            answer = self._api.call("POST", "/admin/users", wanted, ok=(201, 403, 422))
            if answer.status == 403:
                raise _no_admin(answer.message)
            if answer.status == 422:
                raise Conflict(
                    f"Gitea makes no account {name}: {answer.message}", hint="look there for one of that name", code="FORGE_REFUSED"
                )
        self._change(
            name, password=password.reveal(), description=access.branch, restricted=True, max_repo_creation=0, allow_create_organization=False,
            allow_git_hook=False, allow_import_local=False, admin=False,
        )  # fmt: skip
        return name

    def _change(self, name: str, **changes: object) -> None:
        self._api.call(
            "PATCH", "/admin/users" + at(name), {"source_id": 0, "login_name": name, "must_change_password": False, **changes}, ok=(200,)
        )

    def _token(self, account: str, password: Secret) -> Secret:
        """Make the account's only token."""
        tokens, who = "/users" + at(account, "tokens"), (account, password)
        for old in self._api.call("GET", tokens, ok=(200,), as_user=who).data or ():
            self._api.call("DELETE", "/users" + at(account, "tokens", old["id"]), ok=(204, 404), as_user=who)
        made = self._api.call("POST", tokens, {"name": "rdev", "scopes": ["write:repository"]}, ok=(201,), as_user=who).data
        # from here on nobody knows its password
        self._change(account, password=secrets.token_urlsafe(32))
        return Secret(str(made["sha1"]))

    def _rules(self, repo: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._api.call("GET", f"{repo}/branch_protections", ok=(200,)).data or []
        return found

    def _no_loose_rules(self, repo: str, me: str) -> None:
        """Conflict for a rule that people made and that lets everybody write who may write the repository: it would count first."""
        for rule in self._rules(repo):
            pushes = rule["enable_push"] and not rule["enable_push_whitelist"]
            forces = rule["enable_force_push"] and not rule["enable_force_push_allowlist"]
            if pushes or forces or not rule["enable_merge_whitelist"]:
                raise Conflict(
                    f"the rule '{shown(rule['rule_name'])}' of {repo.removeprefix('/repos/')} lets everybody write who has a checkout",
                    hint=f"name those who may push and merge there, {me} among them, or remove the rule",
                    code="PROTECTION_LOOSE",
                    rule=rule["rule_name"],
                )

    def _rule(self, repo: str, name: str, writers: list[str], priority: int) -> None:
        wanted = {
            "priority": priority, "enable_push": True, "enable_push_whitelist": True, "push_whitelist_usernames": writers,
            "push_whitelist_deploy_keys": False, "enable_force_push": False, "enable_merge_whitelist": True,
            "merge_whitelist_usernames": writers[:1], "required_approvals": 0,
        }  # fmt: skip
        there = next((rule for rule in self._rules(repo) if rule["rule_name"] == name), None)
        if there is not None and there["priority"] != priority:
            return  # people's own, and not a loose one
        if there is None:
            # 403: it is there now; 500: two were made at once, and one stands
            answer = self._api.call("POST", f"{repo}/branch_protections", {"rule_name": name, **wanted}, ok=(201, 403, 500))
            if answer.status == 201:
                return
            there = next((rule for rule in self._rules(repo) if rule["rule_name"] == name), None)
            if there is None:
                raise Denied(
                    f"Gitea makes no rule for {shown(name)}: {answer.message}",
                    hint="rdev's account must be an administrator of the repository",
                    code="FORGE_DENIED",
                )
        self._api.call("PATCH", f"{repo}/branch_protections{at(name)}", wanted, ok=(200,))

    def _tag_rule(self, repo: str, me: str) -> None:
        there = self._api.call("GET", f"{repo}/tag_protections", ok=(200,)).data or ()
        if not any(rule["name_pattern"] == _TAGS for rule in there):
            self._api.call("POST", f"{repo}/tag_protections", {"name_pattern": _TAGS, "whitelist_usernames": [me]}, ok=(201, 403))

    # staying and going

    def extend(self, access: Access) -> str:
        """Give an account a later time; return its name from then on."""
        whose, _ = _split(access.name)
        wanted = f"{whose}-{int(access.expires_at.timestamp())}"
        there = self._account(whose)
        if not there:
            raise NotFound(f"nobody is let in as {access.name}", hint="rdev checkout start begins another", name=access.name)
        if there.name != wanted:
            self._api.call("POST", "/admin/users" + at(there.name, "rename"), {"new_username": wanted}, ok=(200, 204))
        return wanted

    def dismiss(self, name: str) -> bool:
        """Take an account and all that is its away; what it could do ends first, and it can be found until nothing is left."""
        whose, accounts = _split(name)[0], self._accounts()
        mine = [account for account in accounts if account.whose == whose]
        for account in mine:
            if repo := self._path(account.repository):
                self._api.call("DELETE", f"{repo}/collaborators{at(account.name)}", ok=(204, 404))
                others = any(one.repository == account.repository and one.whose != whose for one in accounts)
                self._unprotect(repo, account.branch, all=not others)
            self._api.call("DELETE", "/admin/users" + at(account.name), ok=(204, 404), query={"purge": "true"})
        return bool(mine)

    def _unprotect(self, repo: str, branch: str, *, all: bool) -> None:  # noqa: A002 -- what it is
        """Remove an account's own rule and, behind the last account, those for all branches and tags."""
        for rule in self._rules(repo):
            mine = (rule["rule_name"], rule["priority"]) == (_quoted(branch), _NARROW_FIRST)
            if mine or (all and (rule["rule_name"], rule["priority"]) == (_WIDE, _WIDE_LAST)):
                self._api.call("DELETE", f"{repo}/branch_protections{at(rule['rule_name'])}", ok=(204, 404))
        for rule in self._api.call("GET", f"{repo}/tag_protections", ok=(200,)).data or () if all else ():
            if rule["name_pattern"] == _TAGS:
                self._api.call("DELETE", f"{repo}/tag_protections{at(rule['id'])}", ok=(204, 404))

    def check(self) -> Check:
        """Say whether checkouts can be given out."""
        try:
            with suppress(NotFound):
                self._api.call("GET", "/admin/users", ok=(200,), query={"limit": "1"})
                return Check(name="forge.accounts", verdict=Verdict.OK, found="rdev may make the accounts of checkouts")
        except Denied as e:
            why = e.message
        except RdevError as e:
            return Check(name="forge.accounts", verdict=Verdict.WARNING, found=e.message, hint=e.hint)
        else:
            why = "Gitea has no list of accounts"
        refused = _no_admin(why)
        return Check(name="forge.accounts", verdict=Verdict.WARNING, found=refused.message, hint=refused.hint)


def _no_admin(said: str) -> Denied:
    return Denied(
        "rdev's token may not make accounts at Gitea, which checkouts need",
        hint="use a token of a site administrator with write:admin, write:repository and write:user: rdev credential set GITEA_TOKEN",
        code="FORGE_DENIED",
        said=said,
    )


def _split(name: str) -> tuple[str, int]:
    """Return (whose it is, until when) of a name."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise Invalid(f"'{shown(name)}' is no name of a checkout's holder", hint="rdev checkout list", field="name")
    return found[1], int(found[2])


def _quoted(branch: str) -> str:
    """Return a branch as a rule that means this one only."""
    return re.sub(r"([\\*?\[\]{}])", r"\\\1", branch)
