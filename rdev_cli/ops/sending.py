"""A copy into a pod: the script that takes it, and the stream that is read into it.

The stream is lines of sh in plain ASCII, and behind some of them a file's bytes; where nothing in the pod takes an exact number of
bytes (dd with fullblock) these are written as text too. It needs sh, cat, mkdir and mv, and uses sha256sum, wc, df, chmod and rm where
they are.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from rdev_cli.domain.errors import Conflict, Denied
from rdev_cli.domain.files import SMALL, TOGETHER, Left, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from rdev_cli.domain.files import Entry
    from rdev_cli.ports.files import Source

_SLICE = 1 << 20
_TEXT = 4096  # bytes of a file in one word of sh
_WORD = 1 << 16  # bytes of a path that a pod says

# sh -c THIS rdev PATH NAME TREE MERGE KIB TAG TEXT   stdin: lines of sh; behind `p` and `b` as many bytes as they say, unless TEXT.
# stdout: which files and folders could not be put in their places (F or D, and the path), and how many files were (+N). Files are
# written in a folder beside, checked, and moved.
TAKE = r"""
LC_ALL=C
export LC_ALL
umask 022
t=${1:-.} name=$2 tree=$3 merge=$4 need=$5 tag=$6 text=$7 made= fin= free=
case $t in -*) t=./$t ;; esac
if [ -d "$t" ]; then
  up=$t r=$t/$name
else
  case $t in */) [ -n "$tree" ] || exit 21 ;; esac
  t=${t%/}
  case $t in */*) up=${t%/*}/ ;; *) up=. ;; esac
  name=${t##*/} r=$up/${t##*/}
  [ -d "$up" ] || exit 21
fi
dest=$up
if [ -n "$tree" ]; then
  if [ -e "$r" ] || [ -L "$r" ]; then
    [ -d "$r" ] && { [ -z "$name" ] || [ ! -L "$r" ]; } || exit 22
    [ -w "$r" ] && [ -x "$r" ] || exit 24
    [ -n "$merge" ] || for e in "$r"/* "$r"/.[!.]* "$r"/..?*; do [ ! -e "$e" ] && [ ! -L "$e" ] || exit 23; done
  fi
  dest=$r
elif [ -e "$r" ] || [ -L "$r" ]; then
  [ -f "$r" ] && [ ! -L "$r" ] || exit 22
fi
[ -e "$dest" ] || { [ -w "$up" ] && [ -x "$up" ]; } || exit 24
[ ! -e "$dest" ] || { [ -w "$dest" ] && [ -x "$dest" ]; } || exit 24
command -v df >/dev/null && free=$(df -Pk "$up" 2>/dev/null | { read -r _; read -r _ _ _ free _; echo "$free"; })
case $free in '' | *[!0-9]*) ;; *) [ "$need" -le "$free" ] || exit 25 ;; esac
[ -n "$text" ] || dd bs=1 count=0 iflag=fullblock </dev/null >/dev/null 2>&1 || exit 26
if [ -n "$tree" ] && [ ! -d "$r" ]; then
  mkdir "$r" 2>/dev/null || exit 24
  made=$r
fi
s=$dest/.rdev-cp.$tag
trap '{ rm -rf "$s"; [ -n "$fin" ] || [ -z "$made" ] || rmdir "$made"; } 2>/dev/null' EXIT
trap 'exit 30' HUP INT TERM
mkdir "$s" 2>/dev/null || exit 24
sum= wc=
command -v sha256sum >/dev/null && sum=sha256sum
command -v wc >/dev/null && wc=wc
p() { eval "$(dd bs="$1" count=1 iflag=fullblock 2>/dev/null)"; } # BYTES of sh
b() { # BYTES FILE
  : >"$2" || exit 28
  [ "$1" -lt 1048576 ] || dd bs=1048576 count=$(($1 / 1048576)) iflag=fullblock >>"$2" 2>/dev/null || exit 28
  [ $(($1 % 1048576)) = 0 ] || dd bs=$(($1 % 1048576)) count=1 iflag=fullblock >>"$2" 2>/dev/null || exit 28
}
d() { mkdir "$r$1" 2>/dev/null || { [ -d "$r$1" ] && [ ! -L "$r$1" ]; } || printf 'D%s\000' "$1"; } # FOLDER
e() { # SHA256 BYTES FOLDER FILE...: these are what was sent, or nothing of them is kept
  want=$1 long=$2 to=$3
  shift 3
  if [ -n "$sum" ]; then
    got=$(cat "$@" | "$sum")
    [ "${got%% *}" = "$want" ] || exit 27
  elif [ -n "$wc" ]; then
    [ "$(($(cat "$@" | wc -c)))" = "$long" ] || exit 27
  fi
  kept=$#
  mv -f "$@" "$dest$to/" 2>/dev/null || for f in "$@"; do
    [ -e "$f" ] || continue
    kept=$((kept - 1))
    printf 'F%s\000' "$to/${f##*/}"
  done
  printf '+%s\000' "$kept"
}
while IFS= read -r line; do eval "$line"; done
[ -n "$fin" ] || exit 30
"""


class Answers:
    """What a pod's words about a tree that it takes are written to."""

    def __init__(self, tally: Tally) -> None:
        self._tally, self._rest = tally, b""

    def write(self, data: bytes) -> int:
        """Take words, a NUL behind each; what is none of the script's is no news."""
        *words, rest = (self._rest + data).split(b"\0")
        self._rest = rest[:_WORD]
        for word in words:
            if re.fullmatch(rb"\+[0-9]{1,6}", word):
                self._tally.files += int(word)
            elif word[:1] in (b"F", b"D"):
                self._tally.folders -= word[:1] == b"D"
                self._tally.fail(word[2:_WORD].decode("utf-8", "surrogateescape"), Left.IN_THE_WAY)
        return len(data)


_PLAIN = re.compile(r"[A-Za-z0-9_.,+=@/-]*")
_ITSELF = b" _.,;:/=+(){}[]<>#@!?|&^~*$`" + bytes(range(48, 58)) + bytes(range(65, 91)) + bytes(range(97, 123))
_ESCAPED = tuple(chr(b) if b in _ITSELF else f"\\{b:03o}" for b in range(256))


def _octal(data: bytes) -> str:
    """Return bytes as a word that printf turns back into them; no quote, backslash, percent sign or control is in it."""
    return "".join(map(_ESCAPED.__getitem__, data))


class Sender:
    """The lines of sh that make a tree in a pod, read as a stream.

    `text`: files travel as text too. `check` is asked between pieces and raises what ends the copy.
    """

    def __init__(self, source: Source, tally: Tally, *, text: bool, check: Callable[[], None]) -> None:
        self._source, self._tally, self._text, self._check = source, tally, text, check
        self._lines, self._rest = self._tell(), b""
        self._names = 0

    def read(self, most: int = -1) -> bytes:
        """Return what goes next, nothing at the end."""
        self._check()
        while not self._rest:
            piece = next(self._lines, None)
            if piece is None:
                return b""
            self._rest = piece
        data, self._rest = (self._rest, b"") if most < 0 else (self._rest[:most], self._rest[most:])
        return data

    def _tell(self) -> Iterator[bytes]:
        batch: list[tuple[Entry, bytes]] = []
        weight = 0
        for entry in self._source.walk():
            if batch and (entry.folder or entry.path[:-1] != batch[0][0].path[:-1] or len(batch) == TOGETHER or weight > _SLICE // 4):
                yield from self._together(batch)
                batch, weight = [], 0
            name = "/".join(entry.path)
            if entry.left is not None:
                (self._tally.fail if entry.left in (Left.UNREADABLE, Left.CHANGED) else self._tally.skip)(name, entry.left)
            elif entry.folder:
                self._tally.folders += 1
                before, word = self._named(f"/{name}")
                yield f"{before}d {word}\n".encode()
            else:
                try:
                    with self._source.read(entry) as file:
                        size = file.seek(0, 2)
                        file.seek(0)
                        if size <= SMALL:
                            batch.append((entry, data := file.read(SMALL)))
                            weight += len(data)
                        else:
                            yield from self._big(entry, file, size)
                except (Conflict, Denied) as e:
                    self._tally.fail(name, Left.CHANGED if isinstance(e, Conflict) else Left.UNREADABLE)
        if batch:
            yield from self._together(batch)
        yield b"fin=1; break\n"

    def _named(self, name: str) -> tuple[str, str]:
        """Return a line that has to come first, if any, and a word of sh for a name (or the path of one), whatever bytes it is of."""
        if _PLAIN.fullmatch(name):
            return "", f'"{name}"'
        self._names += 1
        variable = f"n{self._names % (TOGETHER + 2)}"
        # the x saves newlines at the end
        return (
            f"{variable}=$(printf '{_octal(name.encode('utf-8', 'surrogateescape'))}x') {variable}=${{{variable}%x}}\n",
            f'"${variable}"',
        )

    def _place(self, entry: Entry) -> tuple[str, str]:
        if not entry.path:
            return "", '"$s/$name"'
        before, word = self._named(entry.path[-1])
        return before, f'"$s/"{word}'

    def _end(self, entry: Entry, digest: str, size: int) -> str:
        folder = "/".join(("", *entry.path[:-1]))
        before, word = self._named(folder)
        return f'{before}e {digest} {size} {word} "$@"\n'

    def _together(self, batch: list[tuple[Entry, bytes]]) -> Iterator[bytes]:
        """Yield small files of one folder: as one piece of sh, so that they cost the pod hardly a process."""
        lines, places, runs, hashed, size = [], [], [], hashlib.sha256(), 0
        for entry, data in batch:
            before, place = self._place(entry)
            words = " && ".join(f"printf '{_octal(data[at : at + _TEXT])}'" for at in range(0, len(data), _TEXT)) or ":"
            lines.append(f"{before}{{ {words}; }} >{place} || exit 28\n")
            places.append(place)
            runs += [place] if entry.executable else []
            hashed.update(data)
            size += len(data)
        lines.append(f"set -- {' '.join(places)}\n")
        if runs:
            lines.append(f"chmod 755 {' '.join(runs)} 2>/dev/null\n")
        text = ("".join(lines) + self._end(batch[0][0], hashed.hexdigest(), size)).encode()
        yield text if self._text else f"p {len(text)}\n".encode() + text
        self._tally.bytes += size

    def _big(self, entry: Entry, file: BinaryIO, size: int) -> Iterator[bytes]:
        before, place = self._place(entry)
        hashed, left, whole = hashlib.sha256(), size, True
        yield f'{before}set -- {place}\n{": >" if self._text else f"b {size} "}"$1"\n'.encode()
        while left:
            data = file.read(min(left, _SLICE))
            if not data:  # the length was promised
                whole, data = False, bytes(min(left, _SLICE))
            hashed.update(data)
            left -= len(data)
            self._tally.bytes += len(data)
            yield self._printed(data) if self._text else data
        if not whole:
            self._tally.fail("/".join(entry.path), Left.CHANGED)
            self._tally.bytes -= size
            yield b'rm -f "$1" 2>/dev/null\n'
            return
        yield ('chmod 755 "$1" 2>/dev/null\n' if entry.executable else "").encode()
        yield self._end(entry, hashed.hexdigest(), size).encode()

    def _printed(self, data: bytes) -> bytes:
        pieces = (data[at : at + _TEXT] for at in range(0, len(data), _TEXT))
        return "".join(f"printf '{_octal(piece)}' >>\"$1\" || exit 28\n" for piece in pieces).encode()
