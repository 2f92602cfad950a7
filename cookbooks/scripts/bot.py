#!/usr/bin/env python3
"""A bot that does the whole main job over HTTP alone: make a project, let an agent or a command work on it, read its commit, run checks, delete it.

Usage:        bot.py NAME [--agent AGENT [--prompt TEXT]] [--keep]
              NAME is the project's and the run's: killed at any point, the same line goes on where it was and does nothing twice.
              Without --agent a line of shell does the agent's work: it writes a page, and commits it.
Environment:  RDEV_URL, RDEV_API_KEY as of rdev_http.py, which stands beside this file. The key needs projects:read and projects:execute.
              RDEV_BOT_RUN: another run of the same name (its number in CI); the answers of a run are remembered for 24 hours.
"""

import argparse
import os
import sys

import httpx
from rdev_http import Rdev, Refused

PROMPT = "add a /health page"
WORK = """set -e
echo '<!doctype html><html lang="en"><title>health</title><p id="status">ok</p></html>' >site/health.html
grep -q health.html site/index.html || sed -i 's|</body>|  <a href="health.html">health</a>\\n&|' site/index.html
git add site
git diff --cached --quiet || git -c user.name=bot -c user.email=bot@localhost commit --quiet -m 'Add a health page'"""


def run(client: Rdev, words: argparse.Namespace) -> int:
    project, key = f"/projects/{words.name}", f"bot-{words.name}-{os.environ.get('RDEV_BOT_RUN', '1')}"

    def command(name: str, path: str, body: dict[str, object]) -> int:
        print(f"== {name}", flush=True)
        return client.follow(client.request("POST", project + path, body, f"{key}-{name}"))

    print("== create", flush=True)
    client.finish(client.request("POST", "/projects", {"name": words.name}, f"{key}-create"))
    code = 0
    if standing(client, project) == "ready":  # a run that was cut off may have come to the end of its work
        if words.agent:
            code = command("work", "/agents", {"agent": words.agent, "prompt": words.prompt})
        else:
            code = command("work", "/shell", {"command": WORK})
            client.finish(client.request("POST", f"{project}/sync", {}, f"{key}-sync"))
        for name, argv in (("commit", ["log", "-1", "--stat"]), ("diff", ["show", "--format=", "HEAD"])):
            code = code or command(name, "/git", {"argv": argv})
        code = code or command("check", "/shell", {"command": "sh scripts/check.sh"})
    if not words.keep:
        print("== delete", flush=True)
        try:
            client.finish(client.request("DELETE", project))
        except Refused:
            if standing(client, project):
                raise
    return code


def standing(client: Rdev, project: str) -> str:
    """Return a project's state, empty if there is none."""
    try:
        return str(client.request("GET", project)["state"])
    except Refused as e:
        if e.status != 404:
            raise
        return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--agent", default="")
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--keep", action="store_true", help="leave the project")
    try:
        return run(Rdev(), parser.parse_args())
    except Refused as e:
        print(f"error: {e} ({e.code})\nhint:  {e.hint}", file=sys.stderr)
        return e.exit
    except httpx.TransportError as e:
        print(f"error: no answer: {e}\nhint:  RDEV_URL says where the server is", file=sys.stderr)
        return 6


if __name__ == "__main__":
    sys.exit(main())
