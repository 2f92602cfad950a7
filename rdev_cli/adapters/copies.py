"""The Copies port: clones on the user's machine, where what a repository or its settings say runs nothing."""

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from rdev_cli.adapters.shared.files import remove_tree, write_whole
from rdev_cli.adapters.shared.git import git, telling
from rdev_cli.domain.checkout import Copy, Mark
from rdev_cli.domain.errors import Conflict, Denied, Failed, Invalid, NotFound, Unavailable
from rdev_cli.domain.values import Secret, shown
from rdev_cli.ports.timing import LONG_RUNNING, STANDARD, Stop

_MARK = "rdev.json"
_URL = re.compile(r"(https?)://[A-Za-z0-9.\[\]:_-]+/[^\s\x00-\x1f\x7f]*")
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MET = "failed to update ref"  # what git says of a branch that another git is just writing
# what git leaves in its folder while something is under way that a plain commit would break off
_BUSY = {
    "MERGE_HEAD": "merge", "rebase-merge": "rebase", "rebase-apply": "rebase", "CHERRY_PICK_HEAD": "cherry-pick", "REVERT_HEAD": "revert",
    "BISECT_LOG": "bisect",
}  # fmt: skip
# git's helper for this once: the words come from the environment of git's own processes
_ONCE = '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" "$RDEV_GIT_ACCOUNT" "$RDEV_GIT_TOKEN"; }; f'
_LINKS = ("-c", "core.symlinks=true")  # a user's own work tree has them


@dataclass(frozen=True, slots=True)
class _Aside:
    """A git folder of a moment, with no settings but rdev's, that works on another's objects, index and files."""

    folder: Path
    env: Mapping[str, str]

    def git(self, *argv: str, more: Mapping[str, str] | None = None, **how: object) -> tuple[int, bytes]:
        return git(self.folder, *argv, more={**self.env, **(more or {})}, **how)  # type: ignore[arg-type]


class GitCopies:
    """The Copies port on git and the file system. `environ` is the user's own, for whose name commits carry and what is ignored."""

    def __init__(self, environ: Mapping[str, str], stop: Stop) -> None:
        self._environ, self._stop = environ, stop

    def claim(self, folder: str, mark: Mark) -> tuple[str, Mark]:
        top = Path(os.path.abspath(os.path.expanduser(folder)))
        if any(ord(c) < 32 for c in folder) or not folder:
            raise Invalid(f"'{shown(folder)}' is no folder", hint="--dir DIR names a new one", field="dir")
        if not top.parent.is_dir():
            raise NotFound(
                f"there is no folder {shown(str(top.parent), most=200)}",
                hint="make it first, or name another: --dir DIR",
                dir=str(top.parent),
            )
        try:
            with suppress(FileExistsError):
                os.mkdir(top)
            if top.is_symlink() or not top.is_dir() or set(os.listdir(top)) - {".git"}:
                return self._again(top, mark)
            with suppress(FileExistsError):
                os.mkdir(top / ".git", 0o700)
            if (top / ".git").is_symlink() or [name for name in os.listdir(top / ".git") if not _part(name)]:
                return self._again(top, mark)
            # the mark comes whole and once: of two that claim a folder one wins
            part = top / ".git" / f".{mark.checkout}.part"
            write_whole(part, json.dumps(asdict(mark)).encode())
            os.link(part, top / ".git" / _MARK)
            part.unlink()
        except FileExistsError:
            return self._again(top, mark)
        except OSError as e:
            raise Unavailable(f"cannot make {shown(str(top), most=200)}: {e.strerror}", hint="name another: --dir DIR", dir=str(top)) from e
        return str(top), mark

    def _again(self, top: Path, mark: Mark) -> tuple[str, Mark]:
        found = None if top.is_symlink() else _mark(top)
        same = found is not None and all(getattr(found, each) == getattr(mark, each) for each in ("context", "project", "target"))
        if found is not None and same and not found.whole:
            return str(top), found
        what = f"{shown(str(top), most=200)} is there already"
        if found is not None and found.whole:
            raise Conflict(
                f"{what}: it is the folder of {found.checkout}",
                hint="work there, or name another: --dir DIR",
                code="FOLDER_TAKEN",
                dir=str(top),
            )
        raise Conflict(f"{what}, and nothing of it is overwritten", hint="name another: --dir DIR", code="FOLDER_TAKEN", dir=str(top))

    def clone(self, folder: str, mark: Mark, *, base: str, helper: Sequence[str], account: str, token: Secret) -> None:
        top = Path(folder)
        protocol = _protocol(mark.url)
        if not _SHA.fullmatch(base):
            raise Invalid("that is no commit", hint="rdev branch list PROJECT shows them", field="base")
        # what one that was cut off has left, locks too, says nothing: this begins anew
        for left in (
            *(top / name for name in os.listdir(top) if name != ".git"),
            *(top / ".git" / name for name in os.listdir(top / ".git")),
        ):
            if left != top / ".git" / _MARK:
                remove_tree(left)
        git(top, "init", "--quiet", "--template=", f"--initial-branch={mark.branch}", "--end-of-options", str(top))
        self._configure(top, mark, helper)
        more = _once(account, token) if protocol != "file" else {}
        options = (*_LINKS, *(_helper(mark.url) if more else ()))
        try:
            git(
                top, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--upload-pack=git-upload-pack",
                "--end-of-options", mark.url, "+refs/heads/*:refs/remotes/origin/*",
                options=options, more=more, protocols=protocol, timeout=LONG_RUNNING, stop=self._stop,
            )  # fmt: skip
        except Failed as e:
            said = str(e.context.get("said", ""))
            raise Unavailable(f"the clone of {mark.project} failed: {telling(said) or e.message}", hint="try again", said=said) from e
        git(top, "update-ref", "--end-of-options", f"refs/heads/{mark.branch}", base)
        git(top, "symbolic-ref", "--end-of-options", "HEAD", f"refs/heads/{mark.branch}")
        # no hook is asked, and no filter is known: what git-lfs keeps elsewhere stays a pointer
        git(
            top,
            "reset",
            "--quiet",
            "--hard",
            "--no-recurse-submodules",
            base,  # a commit's id, as was looked at: this verb of git 2.39 takes the word that ends options for a path
            options=_LINKS,
            timeout=LONG_RUNNING,
            stop=self._stop,
        )
        write_whole(top / ".git" / _MARK, json.dumps({**asdict(mark), "whole": True}).encode())

    def _configure(self, top: Path, mark: Mark, helper: Sequence[str]) -> None:
        path = top / ".git" / "config"
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        lines = [
            '[remote "origin"]', f"\turl = {_quoted(mark.url)}", "\tfetch = +refs/heads/*:refs/remotes/origin/*",
            f"[branch {_quoted(mark.branch)}]", "\tremote = origin", f"\tmerge = {_quoted('refs/heads/' + mark.branch)}",
        ]  # fmt: skip
        if mark.push_option:
            lines += ["[push]", f"\tpushOption = {_quoted(mark.push_option)}"]
        if helper:  # the empty one first: no other helper is asked for this repository, and none is told its token
            lines += [
                f"[credential {_quoted(mark.url)}]",
                "\thelper =",
                f"\thelper = {_quoted('!' + shlex.join(helper))}",
                "\tuseHttpPath = true",
            ]
        write_whole(path, (text + "\n".join(lines) + "\n").encode("utf-8", "surrogateescape"))

    def undo(self, folder: str, checkout: str) -> None:
        found = _mark(Path(folder))
        if found is not None and found.checkout == checkout and not found.whole:
            remove_tree(Path(folder))

    def look(self, folder: str) -> Copy:
        start = Path(os.path.abspath(os.path.expanduser(folder)))
        for top in (start, *start.parents):
            if (mark := _mark(top)) is not None:
                break
        else:
            raise NotFound(
                f"{shown(str(start), most=200)} is in no checkout",
                hint="go to the folder of one, or make one: rdev checkout start PROJECT",
                code="NO_CHECKOUT",
                folder=str(start),
            )
        code, out = git(top, "symbolic-ref", "--quiet", "HEAD", ok=(0, 1))
        branch = out.decode("utf-8", "surrogateescape").strip().removeprefix("refs/heads/") if code == 0 else ""
        _, head = git(top, "rev-parse", "--quiet", "--verify", "--end-of-options", "HEAD", ok=(0, 1))
        staged, dirty = self._status(top, head.decode().strip())
        busy = next((word for name, word in _BUSY.items() if os.path.lexists(top / ".git" / name)), "")
        return Copy(folder=str(top), mark=mark, branch=branch, head=head.decode().strip(), staged=staged, dirty=dirty, busy=busy)

    def _status(self, top: Path, head: str) -> tuple[bool, tuple[str, ...]]:
        with self._aside(top, head) as aside:
            _, out = aside.git(
                "status", "--porcelain", "-z", "--no-renames", "--untracked-files=normal", "--ignore-submodules=all",
                options=(*_LINKS, "-c", f"core.excludesFile={self._own('core.excludesFile', path=True) or os.devnull}"), timeout=LONG_RUNNING,
                stop=self._stop,
            )  # fmt: skip
        staged, dirty = False, list[str]()
        for line in filter(None, out.decode("utf-8", "surrogateescape").split("\0")):
            index, tree, name = line[0], line[1], line[3:]
            unmerged = "U" in (index, tree) or line[:2] in ("AA", "DD")
            staged |= index not in " ?!" and not unmerged
            if unmerged or tree not in " !":
                dirty.append(name)
        return staged, tuple(sorted(dirty))

    @contextmanager
    def _aside(self, top: Path, head: str) -> Iterator[_Aside]:
        """Give a git folder of a moment: the clone's own settings name programs, and the work in it may have come from anybody."""
        import tempfile  # noqa: PLC0415 -- slow to load

        with tempfile.TemporaryDirectory(prefix="rdev-") as made:
            folder = Path(made) / "git"
            for part in ("objects", "refs", "info"):
                (folder / part).mkdir(parents=True)
            (folder / "HEAD").write_text(f"{head or 'ref: refs/heads/none'}\n")
            with suppress(OSError):
                (folder / "info" / "exclude").write_bytes((top / ".git" / "info" / "exclude").read_bytes()[: 1 << 20])
            own = top / ".git"
            yield _Aside(
                folder,
                {
                    "GIT_DIR": str(folder), "GIT_WORK_TREE": str(top), "GIT_INDEX_FILE": str(own / "index"),
                    "GIT_OBJECT_DIRECTORY": str(own / "objects"), "GIT_LITERAL_PATHSPECS": "1",
                },
            )  # fmt: skip

    def _own(self, key: str, *, path: bool = False) -> str:
        """Return what the user's own settings say of something, read with the user's own home."""
        kept = {name: self._environ[name] for name in ("HOME", "XDG_CONFIG_HOME") if self._environ.get(name)}
        kind = ("--type=path",) if path else ()
        code, out = git(
            Path("/"),
            "config",
            "--global",
            *kind,
            "--get",
            key,
            more={**kept, "GIT_CONFIG_GLOBAL": _global(kept)},
            ok=range(256),
            timeout=STANDARD,
        )
        found = out.decode("utf-8", "surrogateescape").strip("\n") if code == 0 else ""
        if path and not found and (home := kept.get("XDG_CONFIG_HOME") or (kept.get("HOME") and f"{kept['HOME']}/.config")):
            found = f"{home}/git/ignore"
        return found

    def commit_staged(self, copy: Copy, message: str) -> str:
        top = Path(copy.folder)
        name, email = self._own("user.name") or "rdev", self._own("user.email") or "rdev@localhost"
        who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in (("NAME", name), ("EMAIL", email))}
        with self._aside(top, copy.head) as aside:
            tree = aside.git("write-tree")[1].decode().strip()
            if aside.git("rev-parse", "--verify", "--end-of-options", f"{copy.head}^{{tree}}")[1].decode().strip() == tree:
                return copy.head
            sha = (
                aside.git("commit-tree", "-p", copy.head, "-F", "-", tree, stdin=message.encode("utf-8", "replace"), more=who)[1]
                .decode()
                .strip()
            )
        code, _ = git(top, "update-ref", "-m", "commit: by rdev", "--end-of-options", "HEAD", sha, copy.head, ok=(0, 1, 128))
        if code != 0:
            raise Conflict(f"{shown(copy.branch)} moved on in that moment", hint="try again", code="HEAD_MOVED", folder=copy.folder)
        return sha

    def blobs_added(self, copy: Copy, base: str, sha: str) -> Iterator[tuple[str, int, bytes]]:
        from rdev_cli.adapters.shared import contents  # noqa: PLC0415 -- only a check-in needs it

        with self._borrowed(copy) as folder:
            yield from contents.blobs_added(folder, base, sha)

    @contextmanager
    def _borrowed(self, copy: Copy) -> Iterator[Path]:
        """Give a bare repository of a moment with the clone's objects and none of its settings."""
        with self._aside(Path(copy.folder), copy.head) as aside:
            (aside.folder / "objects" / "info").mkdir()
            (aside.folder / "objects" / "pack").mkdir()
            (aside.folder / "objects" / "info" / "alternates").write_bytes(os.fsencode(f"{copy.folder}/.git/objects\n"))
            yield aside.folder

    def push(self, copy: Copy, sha: str, *, url: str, branch: str, account: str, token: Secret) -> None:
        ref = f"refs/heads/{branch}"
        protocol = _protocol(url)
        if not _SHA.fullmatch(sha):
            raise Invalid("that is no commit", hint="commit something first", field="commit")
        more = _once(account, token) if protocol != "file" else {}
        said, lines, code = "", "", 1
        with self._borrowed(copy) as folder:
            for wait in (0.5, 1, 0):
                code, lines, said = self._pushed(folder, copy, url, f"{sha}:{ref}", protocol, more)
                if _MET not in lines or not wait:
                    break
                # the git of a check-in that was killed may still be at it, and both end at the same commit
                self._stop.wait(wait)
        if code == 0:
            git(Path(copy.folder), "update-ref", "--end-of-options", f"refs/remotes/origin/{branch}", sha, ok=(0, 1, 128))
            return
        raise _refused(copy, branch, lines, said)

    def _pushed(self, folder: Path, copy: Copy, url: str, what: str, protocol: str, more: Mapping[str, str]) -> tuple[int, str, str]:
        """Push once; return (git's exit code, what it says of the branch, what it says of trouble)."""
        try:
            code, out = git(
                folder, "push", "--porcelain", "--no-verify", "--no-signed", "--recurse-submodules=no", "--receive-pack=git-receive-pack",
                *(("-o", copy.mark.push_option) if copy.mark.push_option else ()), "--end-of-options", url, what,
                options=_helper(url) if more else (), more=more, protocols=protocol, ok=(0, 1), timeout=LONG_RUNNING, stop=self._stop,
            )  # fmt: skip
        except Failed as e:
            return 128, "", str(e.context.get("said") or e.message)
        return code, out.decode(errors="replace"), ""

    def forget(self, folder: str) -> None:
        top = Path(folder)
        mark = _mark(top)
        if mark is None:
            return
        for section in (f"credential.{mark.url}", "push"):
            git(top, "config", "--local", "--remove-section", section, ok=range(256))
        (top / ".git" / _MARK).unlink(missing_ok=True)


def _part(name: str) -> bool:
    """Say whether a name is that of a file which rdev was cut off in writing."""
    return name.startswith(".") and name.endswith(".part")


def _mark(top: Path) -> Mark | None:
    """Return the mark of a folder, None if it has none that rdev wrote."""
    try:
        fd = os.open(top / ".git" / _MARK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            data = json.loads(file.read(1 << 16))
        found = Mark(**data)
        return found if all(isinstance(value, str) for name, value in data.items() if name != "whole") else None
    except (OSError, ValueError, TypeError):
        return None


def _protocol(url: str) -> str:
    """Return what git may speak to a forge's URL; Invalid for one that no forge of rdev's has."""
    if match := _URL.fullmatch(url):
        return match[1]
    if url.startswith("/") and not any(ord(c) < 32 for c in url):
        return "file"
    raise Invalid(f"'{shown(url)}' is no URL that rdev clones", hint="https://…, or the folder of a repository", field="url")


def _once(account: str, token: Secret) -> Mapping[str, str]:
    return {"RDEV_GIT_ACCOUNT": account, "RDEV_GIT_TOKEN": token.reveal()}


def _helper(url: str) -> tuple[str, ...]:
    return ("-c", "credential.helper=", "-c", f"credential.{url}.helper={_ONCE}")


def _quoted(value: str) -> str:
    r"""Return a value as git's settings hold it: \ and " are all that means something between quotes, and rdev writes no newline."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _global(environ: Mapping[str, str]) -> str:
    """Return the file of the user's own settings, as git looks for it."""
    home = environ.get("HOME", "")
    plain = f"{home}/.gitconfig"
    other = f"{environ.get('XDG_CONFIG_HOME') or home + '/.config'}/git/config"
    return plain if home and os.path.exists(plain) else other


def _refused(copy: Copy, branch: str, lines: str, said: str) -> Exception:
    branch, text = shown(branch), said + lines
    if "[rejected]" in lines:
        return Conflict(
            f"{branch} has commits in the forge that are not here",
            hint=f"bring them in, then try again: git -C {shlex.quote(copy.folder)} pull --rebase",
            code="HEAD_MOVED",
            branch=branch,
        )
    why = next((line.rsplit("\t", 1)[-1] for line in lines.splitlines() if line.startswith("!")), "") or telling(said)
    if "[remote rejected]" in lines or re.search("Authentication failed|could not read Username|returned error: 40[13]", text):
        return Denied(
            f"the forge does not let {branch} be written: {shown(why, most=200)}",
            hint=f"rdev checkout show {copy.mark.checkout} says whether it still counts",
            code="PUSH_REFUSED",
            said=text[:2000],
        )
    return Unavailable(f"{branch} could not be brought to the forge: {shown(why, most=200)}", hint="try again", said=text[:2000])
