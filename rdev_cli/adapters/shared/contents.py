"""What commits in a bare repository hold and change: trees, single files, differences, and all that a history adds."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from rdev_cli.adapters.shared.bare import PLAIN, must_have
from rdev_cli.adapters.shared.git import git
from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import shown, sized
from rdev_cli.ports.forge import ONE_FILE, Change, Changes
from rdev_cli.ports.timing import LONG_RUNNING

_BLOBS, _BYTES = 20_000, 1 << 30  # the most that `blobs_added` looks at: contents, and bytes of them all
_BATCH = 32 << 20  # bytes that are read in one go
_FILES = ("100644", "100755")
_DIFF = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--ignore-submodules=none", "--diff-algorithm=myers")


def tree(path: Path, sha: str) -> str:
    """Return the id of a commit's tree."""
    must_have(path, sha)
    _, out = git(path, "rev-parse", "--verify", "--end-of-options", f"{sha}^{{tree}}")
    return out.decode().strip()


def read(path: Path, sha: str, name: str) -> bytes | None:
    """Return a regular file of a commit, None if there is none there."""
    must_have(path, sha)
    if not name or "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        return None
    _, out = git(path, "--literal-pathspecs", "ls-tree", "-z", "-l", "--full-tree", "--end-of-options", sha, name)
    for line in out.split(b"\0"):
        said, _, found = line.partition(b"\t")
        if found != name.encode("utf-8", "surrogateescape"):
            continue
        mode, kind, blob, size = said.decode().split()
        if kind != "blob" or mode not in _FILES:
            return None
        if int(size) > ONE_FILE:
            raise Invalid(
                f"{shown(name)} has {sized(int(size))}, and {sized(ONE_FILE)} are the most", hint="make it smaller", code="TOO_LARGE"
            )
        return git(path, "cat-file", "--end-of-options", "blob", blob)[1]
    return None


def changes(path: Path, base: str, sha: str, *, most: int) -> Changes:
    """Return what changes from one commit to another."""
    import tempfile  # noqa: PLC0415 -- slow to load, and few look at a change

    must_have(path, base, sha)
    _, out = git(path, *PLAIN, "diff-tree", "-r", "-z", "--raw", "--numstat", "--no-abbrev", *_DIFF, "--end-of-options", base, sha, "--")
    blobs, counts = dict[str, str](), list[tuple[str, str, str]]()
    words = iter(out.decode("utf-8", "surrogateescape").split("\0"))
    for word in words:
        if word.startswith(":"):
            _, mode, _, blob, _ = word.split()
            blobs[next(words)] = blob if mode in (*_FILES, "120000") else ""
        elif word:
            added, removed, name = word.split("\t", 2)
            counts.append((name, added, removed))
    sizes = _sizes(path, [blob for blob in blobs.values() if blob])
    files = tuple(
        Change(
            path=name, added=int(added) if added != "-" else 0, removed=int(removed) if removed != "-" else 0, binary=added == "-",
            size=sizes.get(blobs.get(name, ""), 0),
        )
        for name, added, removed in counts
    )  # fmt: skip
    with tempfile.TemporaryFile() as file:
        git(
            path, *PLAIN, "diff-tree", "-r", "-p", "--full-index", *_DIFF, "--end-of-options", base, sha, "--",
            stdout=file, timeout=LONG_RUNNING,
        )  # fmt: skip
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        file.seek(0)
        patch = file.read(most)
    return Changes(files=files, patch=patch, cut=size > len(patch), patch_sha256=digest)


def _sizes(path: Path, blobs: list[str]) -> dict[str, int]:
    """Return the size of each blob that is there."""
    if not blobs:
        return {}
    asked = "".join(f"{blob}\n" for blob in dict.fromkeys(blobs)).encode()
    _, out = git(path, "cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)", stdin=asked, timeout=LONG_RUNNING)
    found = (line.split() for line in out.decode().splitlines())
    return {words[0]: int(words[2]) for words in found if len(words) == 3 and words[1] == "blob"}


def blobs_added(path: Path, base: str, sha: str) -> Iterator[tuple[str, int, bytes]]:
    """Yield (path, size, beginning) of each content that one commit has in its history and another has not; without the other, of all."""
    import tempfile  # noqa: PLC0415 -- slow to load, and few look at a change

    must_have(path, *([base] if base else []), sha)
    with tempfile.TemporaryFile() as listed:
        git(
            path,
            "rev-list",
            "--objects",
            "--in-commit-order",
            "--end-of-options",
            sha,
            *([f"^{base}"] if base else []),
            "--",
            stdout=listed,
            timeout=LONG_RUNNING,
        )
        listed.seek(0)
        names = dict[str, str]()
        for line in listed:
            one, _, name = line.rstrip(b"\n").partition(b" ")
            if name:
                names[one.decode()] = name.decode("utf-8", "surrogateescape")
    sizes = _sizes(path, list(names))
    if len(sizes) > _BLOBS or sum(sizes.values()) > _BYTES:
        raise Invalid(
            f"the change adds {len(sizes)} file contents with {sized(sum(sizes.values()))}, which is more than is looked through",
            hint=f"at most {_BLOBS} contents and {sized(_BYTES)} in one change",
            code="TOO_LARGE",
        )
    small = [blob for blob, size in sizes.items() if size <= ONE_FILE]
    while small:
        batch, size = list[str](), 0
        while small and (not batch or size + sizes[small[0]] <= _BATCH):
            batch.append(small.pop(0))
            size += sizes[batch[-1]]
        _, out = git(path, "cat-file", "--batch=", stdin="".join(f"{blob}\n" for blob in batch).encode(), timeout=LONG_RUNNING)
        at = 0
        for blob in batch:  # each is an empty line, the content, and a line's end
            at += 1
            yield names[blob], sizes[blob], out[at : at + sizes[blob]]
            at += sizes[blob] + 1
    for blob, size in sizes.items():
        if size > ONE_FILE:
            with tempfile.TemporaryFile() as content:
                git(path, "cat-file", "--end-of-options", "blob", blob, stdout=content, timeout=LONG_RUNNING)
                content.seek(0)
                yield names[blob], size, content.read(ONE_FILE)
