"""Writes docs/demo.svg, a picture of what `rdev demo` prints on a terminal; `--check` only compares their words."""

import contextlib
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from xml.etree import ElementTree as ET

from rich.console import CONSOLE_SVG_FORMAT, Console  # type: ignore[attr-defined] # where rich documents it
from rich.terminal_theme import MONOKAI
from rich.text import Text

PICTURE = Path(__file__).with_name("demo.svg")
COLUMNS, LINES = 104, 40
# what is another one in every run
SAME = ((r"demo-[0-9a-f]{4}\b", "demo-0287"), (r"(?m)^(   )[0-9a-f]{10} ", r"\g<1>5c1a9e0d47 "))


def demo() -> str:
    """Run the demo in a home of its own, on a terminal of a fixed size, and return what it prints, colours included.

    The agent is the one that comes with rdev, as on a machine without Claude Code: the same picture everywhere.
    """
    with tempfile.TemporaryDirectory() as home:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = {"HOME": home, "PATH": path, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        with subprocess.Popen(["rdev", "demo", "--agent", "bundled"], stdin=its, stdout=its, stderr=its, env=env, cwd=home) as ran:
            os.close(its)
            printed = b""
            with contextlib.suppress(OSError):  # how a terminal says that nobody writes to it any more
                while piece := os.read(ours, 65536):
                    printed += piece
            os.close(ours)
            code = ran.wait()
    text = printed.decode().replace("\r\n", "\n").replace(home, "~")
    if code:
        raise SystemExit(f"the demo ended with {code}:\n{text}")
    for changing, fixed in SAME:
        text = re.sub(changing, fixed, text)
    return f"$ rdev demo\n{text}"


def drawn(text: str) -> str:
    """Return terminal output as an SVG that loads nothing: no font of somebody's server, no address."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(text), soft_wrap=False)
    form = re.sub(r"@font-face \{\{.*?\}\}\s*|<!--.*?-->\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    form = form.replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace").replace("arial", "sans-serif")
    svg = console.export_svg(title="rdev demo", theme=MONOKAI, code_format=form, unique_id="demo")
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"


def words(svg: str) -> list[str]:
    """Return the lines of text in a picture of `drawn`; how they look is another matter."""
    lines: dict[float, str] = {}
    for one in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):  # noqa: S314 -- our own file
        if "clip-path" in one.attrib:  # the window's title has none
            at = float(one.attrib["y"])
            lines[at] = lines.get(at, "") + (one.text or "").replace("\xa0", " ")
    return [line.rstrip() for _, line in sorted(lines.items()) if line.strip()]


def main(*, check: bool) -> int:
    """Write, or compare."""
    new = drawn(demo())
    if not check:
        PICTURE.write_text(new)
        return 0
    if words(PICTURE.read_text()) == words(new):
        return 0
    print("docs/demo.svg does not say what the demo prints; `python docs/picture.py` writes it", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
