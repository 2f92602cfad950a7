"""Hostile strings, once for all tests: what no name may be, and what no shell may ever see."""

# T-NAME-1: none of these is a name. A NUL cannot stand in an argument; it is tried in-process.
NAMES = (
    "", "a" * 41, "a" * 63, "a" * 64, "a" * 253, "a" * 254, "a-", ".", "..", "a/b", "a%2fb", "A", "Shop", "é", "a\u200fb", "a\u202eb",
    "a\nb", "a\n", "a,b=c", "a in (b)", "!a", "1e3", "012", "__proto__", "a_b", "a.b", "\U0001f600", "а",  # the last one is Cyrillic  # noqa: RUF001
    " a", "a ", "a\tb", "a\x1b[31mb", "\udcff", "../../etc/passwd", "/etc/passwd", "~", "cmd_", "%00", "ａ",  # noqa: RUF001
)  # fmt: skip
# The worst of them, for the parameters that are tried one by one
WORST = ("", "../../x", "A b", "a\n\x1b]0;P\x07\u202eb", "$(touch P)", "\udcff")
# Names like any other, though they mean something elsewhere
PLAIN = ("a", "kube-system", "default", "con", "true", "null", "no", "a" * 40)
# T-SHELL-1: each of these is one argument and stays it, byte for byte
SHELL = (
    "$(touch P)", "`touch P`", ";touch P", "|", "&&", "&", "\n touch P", "a\r\nb", "'", '"', "\\", "\\\\", "%s", "%n", "*", "?", "[a]", "~",
    "-rf", "--", "-", "", " ", "\t", "${IFS}", "$HOME", "$$", "!!", "#", "{a,b}", "<(touch P)", ">P", "2>&1", "é", "\u202e", "\U0001f600",
    "\udcff\udcfe", "a\x1b[31m", "\x01", "\x7f", "'; touch P; '", '"; touch P; "', "'\"'\"'", "x" * 5000,
)  # fmt: skip
# T-OUT-1: foreign text that must be shown and never obeyed
FOREIGN = (
    "\x1b[2J\x1b[31mred", "\x1b]0;title\x07", "\x1b]8;;http://evil/\x1b\\link\x1b]8;;\x1b\\", "\x9b31m", "\x07", "\x08\x08\x08", "\r overwritten",
    "\u202egnp.exe", "\u2066hidden\u2069", "\u200b", "[/foo]", "[link=http://evil/]x[/link]", "[bold red]x", ":boom:", "\x7f",
)  # fmt: skip


def drives(output: bytes) -> list[str]:
    """Return what in an output could drive a terminal, turn or hide text."""
    text = output.decode("utf-8", "replace")
    found = [c for c in text if (ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) <= 0x9F]
    return found + [
        c for c in text if c in "\u061c\ufeff" or "\u200b" <= c <= "\u200f" or "\u2028" <= c <= "\u202e" or "\u2060" <= c <= "\u206f"
    ]
