"""A copy out of a pod: the script that tells it, and what the words of it are written to.

Words end in NUL, which no name holds; the bytes of a file, or of several, end in a mark that nobody could know before. It needs sh
and cat, and uses stat and head where they are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rdev_cli.domain.errors import Conflict, Denied, Failed, Invalid, RdevError
from rdev_cli.domain.files import SMALL, TOGETHER, Left, Tally, bounded, git_like, parts
from rdev_cli.domain.values import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rdev_cli.domain.files import Parts
    from rdev_cli.ports.files import Target, Writing

_WORD = 1 << 16  # bytes of a word that a pod says; a path has at most 4096

# sh -c THIS rdev MARK PATH   stdout: R (f or d), T (files and folders; bytes or nothing), then any of D (path: a folder), S (why, path:
# left out), F (count; `x or -, size or nothing, path` of each; their bytes; the mark; 0, `again`, or what cat ended with); at last E.
# There are two passes, so that what is too much is known before anything is written.
TELL = r"""
LC_ALL=C
export LC_ALL
mark=$1 root=${2:-.} count=0 bytes=0 pass=count
nl='
'
case $root in -*) root=./$root ;; esac
case $root in */)
  root=${root%/}
  [ ! -f "$root" ] || exit 11
  [ -n "$root" ] || root=/. ;;
esac
put() { printf '%s\000' "$@"; }
if stat -L -c %s . >/dev/null 2>&1; then
  sizes() { stat -L -c %s "$@" 2>/dev/null; }
else
  sizes() { return 1; }
  bytes=
fi
command -v head >/dev/null && head=1 || head=
leave() { [ "$pass" = count ] || put S "$1" "${2#"$root"/}"; }
git() { case ${1##*/} in .[gG][iI][tT]) return 0 ;; esac; return 1; }
sum() { while [ $# -gt 0 ]; do bytes=$((bytes + $1)); shift; done; }
each() { # NUMBERS COUNT: is there one for each
  set -- "$2" $1
  [ $(($# - 1)) = "$1" ]
}
send() { # FILE...: each small, or one
  if [ "$pass" = count ]; then
    count=$((count + $#))
    [ -z "$bytes" ] || sum $(sizes "$@")
    return
  fi
  before=$(sizes "$@") && each "$before" $# || before=
  if [ $# -gt 1 ]; then
    small=$before
    for size in $before; do [ "$size" -le SMALL ] || small=; done
    [ -n "$small" ] || { few "$before$nl" "$@"; return; }
  fi
  put F $#
  rest=$before$nl
  for f in "$@"; do
    size=${rest%%"$nl"*} rest=${rest#*"$nl"} name=
    [ "$f" = "$root" ] || name=${f#"$root"/}
    [ -x "$f" ] && put x "$size" "$name" || put - "$size" "$name"
  done
  if [ $# = 1 ] && [ -n "$before" ] && [ -n "$head" ]; then
    head -c "$before" "$1" 2>/dev/null # one that grows as fast as it is read has no end
  else
    cat "$@" 2>/dev/null
  fi
  code=$?
  if [ $# -gt 1 ] && { [ "$code" != 0 ] || [ "$before" != "$(sizes "$@")" ]; }; then
    put '' "$mark" again
    for f in "$@"; do send "$f"; done
    return
  fi
  put '' "$mark" "$code"
}
few() { # SIZES FILE...: big ones, and all whose sizes nobody can say, one by one; the others together
  left=$1
  shift
  for f in "$@"; do
    size=${left%%"$nl"*} left=${left#*"$nl"}
    shift
    if [ -z "$size" ] || [ "$size" -gt SMALL ]; then send "$f"; else set -- "$@" "$f"; fi
  done
  [ $# = 0 ] || send "$@"
}
walk() { # FOLDER
  dir=$1
  set --
  for e in "$dir"/* "$dir"/.[!.]* "$dir"/..?*; do
    if [ -L "$e" ]; then
      leave link "$e"
    elif [ -f "$e" ]; then
      if git "$e"; then
        leave git "$e"
      elif [ -r "$e" ]; then
        set -- "$@" "$e"
        [ $# -lt TOGETHER ] || { send "$@"; set --; }
      else
        leave unreadable "$e"
      fi
    elif [ -e "$e" ] && [ ! -d "$e" ]; then
      leave special "$e"
    fi
  done
  [ $# = 0 ] || send "$@"
  for e in "$dir"/* "$dir"/.[!.]* "$dir"/..?*; do
    [ -d "$e" ] && [ ! -L "$e" ] || continue
    if git "$e"; then
      leave git "$e"
    elif [ -r "$e" ] && [ -x "$e" ]; then
      [ "$pass" = count ] && count=$((count + 1)) || put D "${e#"$root"/}"
      walk "$e"
    else
      leave unreadable "$e"
    fi
  done
}
if [ -d "$root" ]; then
  [ -r "$root" ] && [ -x "$root" ] || exit 13
  kind=d all=walk
elif [ -f "$root" ]; then
  [ -r "$root" ] || exit 13
  kind=f all=send
else
  [ ! -e "$root" ] || exit 12
  exit 11
fi
$all "$root"
put R $kind T $count "$bytes"
pass=send
$all "$root"
put E
""".replace("SMALL", str(SMALL)).replace("TOGETHER", str(TOGETHER))


def _reason(error: RdevError) -> Left:
    return Left.NAME if isinstance(error, Invalid) else Left.UNREADABLE if isinstance(error, Denied) else Left.IN_THE_WAY


class Receiver:
    """What a pod's words about a tree are written to; a pod may say anything, and nothing but the target is touched.

    `check` is asked between pieces and raises what ends the copy; `begin` is called with (is it a tree, bytes) before anything is written.
    """

    def __init__(self, target: Target, tally: Tally, mark: str, *, check: Callable[[], None], begin: Callable[[bool, int], None]) -> None:
        self._target, self._tally, self._check, self._begin = target, tally, check, begin
        self._mark = b"\0" + mark.encode() + b"\0"
        self._buffer, self._said = bytearray(), 0
        self.ended = False
        self._tree = False
        self._words = self._listen()
        next(self._words)

    def write(self, data: bytes) -> int:
        """Take what the pod said next; Failed BAD_COPY for what no script of rdev's says."""
        self._check()
        self._buffer += data
        if not self.ended:
            try:
                next(self._words)
            except StopIteration:
                self.ended = True
        return len(data)

    def _word(self) -> Generator[None, None, bytes]:
        start = 0
        while (at := self._buffer.find(0, start)) < 0:
            start = len(self._buffer)
            if start > _WORD:
                raise _nonsense(bytes(self._buffer[:60]))
            yield
        word = bytes(self._buffer[:at])
        del self._buffer[: at + 1]
        return word

    def _number(self) -> Generator[None, None, int | None]:
        word = yield from self._word()
        if not re.fullmatch(rb"[0-9]{0,18}", word):
            raise _nonsense(word)
        return int(word) if word else None

    def _listen(self) -> Generator[None, None, None]:
        yield
        top = [(yield from self._word()), (yield from self._word()), (yield from self._word())]
        if top not in ([b"R", b"f", b"T"], [b"R", b"d", b"T"]):
            raise _nonsense(top[0])
        self._tree = top[1] == b"d"
        count, total = (yield from self._number()), (yield from self._number())
        bounded(count or 0, total or 0)
        self._begin(self._tree, total or 0)
        self._tally.total = total
        while (word := (yield from self._word())) != b"E":
            if word == b"F":
                yield from self._files()
            elif word == b"D" and self._tree:
                self._folder((yield from self._word()))
            elif word == b"S":
                reason, path = (yield from self._word()), (yield from self._word())
                self._left(reason, "/".join(self._counted(path)))
            else:
                raise _nonsense(word)

    def _counted(self, path: bytes) -> Parts:
        """Return a path below the top that may be looked at; one that leads elsewhere ends the copy."""
        self._said += 1
        bounded(self._said, self._tally.bytes)
        found = parts(path)
        if found is None or bool(found) is not self._tree:
            raise _nonsense(path)
        return found

    def _left(self, reason: bytes, path: str) -> None:
        try:
            why = Left(reason.decode())
        except ValueError as e:
            raise _nonsense(reason) from e
        if why is Left.UNREADABLE:
            self._tally.fail(path, why)
        else:
            self._tally.skip(path, why)

    def _folder(self, word: bytes) -> None:
        path = self._counted(word)
        if self._gits(path):
            return
        try:
            self._target.folder(path)
            self._tally.folders += 1
        except (Conflict, Invalid, Denied) as e:
            self._tally.fail("/".join(path), _reason(e))

    def _gits(self, path: Parts) -> bool:
        if any(git_like(name) for name in path):
            self._tally.skip("/".join(path), Left.GIT)
            return True
        return False

    def _files(self) -> Generator[None, None, None]:
        count = (yield from self._number()) or 0
        if not 1 <= count <= TOGETHER:
            raise _nonsense(b"F")
        heads = []
        for _ in range(count):
            kind, size, word = (yield from self._word()), (yield from self._number()), (yield from self._word())
            if kind not in (b"x", b"-"):
                raise _nonsense(kind)
            heads.append((kind == b"x", size, self._counted(word)))
        if count > 1:
            yield from self._several(heads)
        else:
            yield from self._one(*heads[0])

    def _content(self, take: Callable[[bytes], None]) -> Generator[None, None, bytes]:
        """Hand on all up to the mark, and return the word behind it."""
        keep = len(self._mark) - 1
        while (at := self._buffer.find(self._mark)) < 0:
            if len(self._buffer) > keep:
                take(bytes(self._buffer[:-keep]))
                del self._buffer[:-keep]
            yield
        take(bytes(self._buffer[:at]))
        del self._buffer[: at + len(self._mark)]
        return (yield from self._word())

    def _one(self, executable: bool, size: int | None, path: Parts) -> Generator[None, None, None]:  # noqa: ARG002, FBT001 -- the pod's words
        name, writing = "/".join(path), None
        if not self._gits(path):
            writing = self._begun(path)
        taken = 0

        def take(data: bytes) -> None:
            nonlocal taken
            taken += len(data)
            bounded(self._said, self._tally.bytes + taken)
            if writing is not None:
                writing.write(data)

        code = yield from self._content(take)
        if writing is None:
            return
        if code != b"0":
            writing.drop()
            self._tally.fail(name, Left.UNREADABLE)
            return
        self._keep(writing, name, taken, executable=executable)

    def _several(self, heads: list[tuple[bool, int | None, Parts]]) -> Generator[None, None, None]:
        total, held, over = sum(size or 0 for _, size, _ in heads), bytearray(), False
        if total > TOGETHER * SMALL:
            raise _nonsense(b"F")

        def take(data: bytes) -> None:
            nonlocal over
            over = over or len(held) + len(data) > total
            if not over:
                held.extend(data)

        code = yield from self._content(take)
        if code == b"again":  # something changed meanwhile: they come one by one
            return
        if code != b"0" or over or len(held) != total:
            raise _nonsense(code)
        at = 0
        for executable, size, path in heads:
            end = at + (size or 0)
            if not self._gits(path) and (writing := self._begun(path)) is not None:
                writing.write(bytes(held[at:end]))
                self._keep(writing, "/".join(path), end - at, executable=executable)
            at = end

    def _begun(self, path: Parts) -> Writing | None:
        try:
            return self._target.file(path)
        except (Conflict, Invalid, Denied) as e:
            self._tally.fail("/".join(path), _reason(e))
            return None

    def _keep(self, writing: Writing, name: str, size: int, *, executable: bool) -> None:
        try:
            writing.keep(executable=executable)
        except (Conflict, Invalid, Denied) as e:
            self._tally.fail(name, _reason(e))
            return
        self._tally.files += 1
        self._tally.bytes += size


def _nonsense(word: bytes) -> Failed:
    return Failed(
        "the pod does not say what rdev's own script says there, so nothing more of it is taken",
        hint="copy it again; if it says so again, something in the pod stands in front of sh, stat or cat",
        code="BAD_COPY",
        said=shown(word.decode("utf-8", "surrogateescape")),
    )
