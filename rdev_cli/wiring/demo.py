"""The demo's script: what the scripted model says, turn by turn. Data only."""

from rdev_cli.adapters.scripted import ToolCall, Turn

PROMPT = "add a /health page"
_PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>health</title>
</head>
<body>
  <p id="status">ok</p>
</body>
</html>
"""

_WORK = (
    Turn(
        text="I will add a page that says how the site is, and link to it from the front page.",
        tools=(ToolCall(name="Write", input={"file_path": "site/health.html", "content": _PAGE}),),
    ),
    Turn(text="Now the link.", tools=(ToolCall(name="Read", input={"file_path": "site/index.html"}),)),
    Turn(
        tools=(
            ToolCall(
                name="Edit",
                input={
                    "file_path": "site/index.html",
                    "old_string": "  <p>It works.</p>\n",
                    "new_string": '  <p>It works.</p>\n  <p><a href="health.html">health</a></p>\n',
                },
            ),
        ),
    ),
)
_CHECKED = (
    Turn(text="The project has a check; I run it.", tools=(ToolCall(name="Bash", input={"command": "sh scripts/check.sh"}),)),
    Turn(text="The page is at site/health.html, the front page links to it, and the check passes."),
)
_UNCHECKED = (Turn(text="The page is at site/health.html, and the front page links to it. I have no shell here to run the check."),)


def script(*, shell: bool) -> tuple[Turn, ...]:
    """Return the turns; an agent without a shell must not say that the check passes."""
    return _WORK + (_CHECKED if shell else _UNCHECKED)
