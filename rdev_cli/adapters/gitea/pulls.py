"""Pull requests of one repository at Gitea."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rdev_cli.adapters.gitea.calling import Gitea, at
from rdev_cli.adapters.shared import bare
from rdev_cli.domain.errors import Conflict, Invalid, NotFound, Unavailable
from rdev_cli.domain.project import Project
from rdev_cli.domain.review import Pull
from rdev_cli.domain.values import shown

_PATIENCE = 20.0  # seconds in which Gitea must know whether it can merge; under a second as a rule
_WAIT = 0.5


class Pulls:
    """The pull requests of one repository."""

    def __init__(self, api: Gitea, repo: str, project: Project, mirror: Callable[..., Path]) -> None:
        self._api, self._repo, self._project, self._mirror = api, repo, project, mirror

    def _shown(self, found: dict[str, Any]) -> Pull:
        merged = bool(found["merged"])
        return Pull(
            number=int(found["number"]), url=str(found["html_url"]), head=str(found["head"]["ref"]), base=str(found["base"]["ref"]),
            sha=str(found["head"]["sha"]), state="merged" if merged else str(found["state"]),
            merged=str(found["merge_commit_sha"] or "") if merged else "", title=str(found["title"]),
        )  # fmt: skip

    def get(self, number: int) -> Pull:
        found = self._api.get(f"{self._repo}/pulls{at(number)}")
        if found is None:
            raise NotFound(f"there is no pull request {number} of {self._project.name}", hint="rdev checkin opens one", number=number)
        return self._shown(found)

    def find(self, head: str, base: str) -> Pull | None:
        for found in self._api.all(f"{self._repo}/pulls", query={"state": "open", "sort": "recentupdate"}):
            own = (found["head"].get("repo") or {}).get("id") == found["base"]["repo"]["id"]  # one from a fork may have the same name
            if own and (found["head"]["ref"], found["base"]["ref"]) == (head, base):
                return self._shown(found)
        return None

    def open(self, *, head: str, base: str, title: str, body: str) -> Pull:
        if head == base:
            raise Invalid(f"{shown(head)} cannot be merged into itself", hint="name another branch", field="branch")
        if there := self.find(head, base):
            return there
        wanted = {"head": head, "base": base, "title": title, "body": body}
        answer = self._api.call("POST", f"{self._repo}/pulls", wanted, ok=(201, 404, 409))
        if answer.status == 201:
            return self._shown(answer.data)
        if answer.status == 404:
            raise NotFound(
                f"there is no branch {shown(head)} or none {shown(base)} in {self._project.name}",
                hint=f"rdev branch list {self._project.name} shows the ones there are",
            )
        found = self.find(head, base)  # somebody opened it in that moment
        if found is None:
            raise Conflict(f"Gitea opens no pull request: {answer.message}", hint="look there", code="FORGE_REFUSED", said=answer.message)
        return found

    def comment(self, number: int, text: str) -> None:
        self._api.call("POST", f"{self._repo}/issues{at(number, 'comments')}", {"body": text}, ok=(201,))

    def close(self, number: int) -> None:
        if self.get(number).state == "open":
            self._api.call("PATCH", f"{self._repo}/pulls{at(number)}", {"state": "closed"}, ok=(200, 201, 412))

    def merge(self, number: int, *, sha: str, message: str, base: str) -> Pull:
        title, _, text = message.partition("\n")
        wanted = {"Do": "merge", "MergeTitleField": title.strip(), "MergeMessageField": text.strip(), "head_commit_id": sha}
        waited, looked = 0.0, False
        while True:
            pull = self.get(number)
            if pull.state == "merged":
                return pull
            if pull.state != "open":
                raise bare.pull_closed(pull)
            if pull.sha != sha:
                raise bare.head_moved(pull, sha)
            answer = self._api.call("POST", f"{self._repo}/pulls{at(number, 'merge')}", wanted, ok=(200, 405, 409))
            if answer.status == 200:
                return self._merged(number)
            again = answer.status == 409 or "try again" in answer.message.lower() or "already merged" in answer.message.lower()
            if not again:
                raise Conflict(
                    f"Gitea does not merge the pull request {number}: {answer.message}",
                    hint=f"look at it: {pull.url}",
                    code="MERGE_REFUSED",
                    said=answer.message,
                )
            if not looked and base:  # being looked at still, or a conflict: it says the same of both
                bare.joined(self._mirror(base, sha), base=base, head=sha, message=message)
                looked = True
            if waited >= _PATIENCE:
                raise Unavailable(
                    f"Gitea does not say whether it can merge the pull request {number}: {answer.message}",
                    hint="try again",
                    code="FORGE_TROUBLE",
                    said=answer.message,
                )
            self._api.stop().wait(_WAIT)
            self._api.stop().check("merging")
            waited += _WAIT

    def _merged(self, number: int) -> Pull:
        """Return it once it says what it became, which it may do a moment later."""
        for _ in range(20):
            pull = self.get(number)
            if pull.state == "merged" and pull.merged:
                return pull
            self._api.stop().wait(_WAIT)
        raise Unavailable(f"Gitea merged the pull request {number}, but does not say into what", hint="try again", code="FORGE_TROUBLE")
