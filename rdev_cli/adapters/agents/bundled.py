"""A small coding agent in one file that needs only an interpreter: `rdev demo` runs it where no other agent is.

It takes the prompt on stdin, speaks the Messages API to ANTHROPIC_BASE_URL, works in the current directory, and prints
the same lines as Claude Code. Exit codes: 0 done, 1 the work failed, 2 it was asked wrongly, 143 it was told to stop.
"""

import argparse
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn
from urllib.parse import urlsplit

HOST = "https://api.anthropic.com"
MODEL = "claude-sonnet-4-5"
KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
TURNS = 50  # replies that one prompt may take
TOKENS = 8192  # of one reply
WAIT = 300  # seconds that a reply may take
RETRIES = (0.5, 2.0)  # seconds before asking again where the API says: later
REPLY_MAX = 32 << 20  # bytes
FILE_MAX = 1 << 20  # bytes of a file that is read or edited
ANSWER_MAX = 30_000  # characters of a tool's answer
BASH_SECONDS = 120
SYSTEM = "You are a coding agent. Work in the current directory with the tools given, then say in a sentence what you did."

Words = dict[str, Any]


class Wrong(Exception):
    """What a tool, or the agent, cannot do, in words for the model or the person."""


def inside(given: object) -> str:
    """Return the real path of a name, which must stay in the current directory."""
    if not isinstance(given, str) or not given or "\0" in given:
        raise Wrong("file_path: a path is required")
    root = os.path.realpath(".")
    path = os.path.realpath(os.path.join(root, given))
    if os.path.commonpath((root, path)) != root:
        raise Wrong(f"{given} is outside of the current directory")
    return path


def text(given: Words, key: str) -> str:
    """Return a string of a tool's input."""
    value = given.get(key)
    if not isinstance(value, str):
        raise Wrong(f"{key}: a string is required")
    return value


def load(path: str) -> str:
    """Return a text file as it is, line ends too."""
    if not os.path.isfile(path):
        raise Wrong(f"{os.path.relpath(path)} is not a file")
    if os.path.getsize(path) > FILE_MAX:
        raise Wrong(f"{os.path.relpath(path)} is larger than {FILE_MAX} bytes")
    with open(path, encoding="utf-8", newline="") as stream:
        return stream.read()


def store(path: str, content: str) -> None:
    """Write a text file as given."""
    data = content.encode()  # before the old file is gone: half a surrogate pair cannot be written
    if os.path.exists(path) and not os.path.isfile(path):
        raise Wrong(f"{os.path.relpath(path)} is not a file")
    with open(path, "wb") as stream:
        stream.write(data)


def write(given: Words) -> str:
    """Write a whole file."""
    path, content = inside(given.get("file_path")), text(given, "content")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    store(path, content)
    return f"wrote {os.path.relpath(path)}"


def edit(given: Words) -> str:
    """Replace a text that stands once in a file."""
    path, old, new = inside(given.get("file_path")), text(given, "old_string"), text(given, "new_string")
    content = load(path)
    found = content.count(old) if old else 0
    everywhere = given.get("replace_all") is True
    if not found or (found > 1 and not everywhere):
        raise Wrong(f"old_string stands {found} times in {os.path.relpath(path)}, not once")
    store(path, content.replace(old, new))
    return f"edited {os.path.relpath(path)}"


def read(given: Words) -> str:
    """Return a file's text."""
    return load(inside(given.get("file_path")))


def bash(given: Words) -> str:
    """Run a line of shell; what it leaves in the background ends with it."""
    # the key is the agent's alone: what it runs has no use for it
    environment = {name: value for name, value in os.environ.items() if name not in KEYS}
    child = subprocess.Popen(
        ("sh", "-c", text(given, "command")),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )
    assert child.stdout is not None
    kept, pipe = bytearray(), child.stdout.fileno()

    def drain() -> None:
        while part := os.read(pipe, 1 << 16):
            kept.extend(part[: max(0, ANSWER_MAX - len(kept))])

    def watch() -> None:
        # unreaped, the child keeps its number: the group that is killed below is never a stranger's
        with contextlib.suppress(ChildProcessError):  # a stop that came while this thread was starting waited for none
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    reader, watcher = threading.Thread(target=drain, daemon=True), threading.Thread(target=watch, daemon=True)
    try:
        reader.start()
        watcher.start()
        watcher.join(BASH_SECONDS)
        late = watcher.is_alive()
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        if watcher.ident is not None:  # else it was told to stop before there was one
            watcher.join()
        code = child.wait()
    reader.join(1)  # who left the group may hold the pipe for ever
    if not reader.is_alive():
        child.stdout.close()
    said = bytes(kept).decode("utf-8", "replace")
    if late:
        raise Wrong(f"{said}\nended after {BASH_SECONDS} seconds")
    if code:
        raise Wrong(f"{said}\nexit code {code}")
    return said or "(no output)"


def offer(name: str, description: str, **properties: str) -> Words:
    """Describe a tool as the API wants it; a `?` before a type says that it may be left out."""
    return {
        "name": name,
        "description": description,
        "input_schema": {
            "type": "object",
            "properties": {key: {"type": kind.lstrip("?")} for key, kind in properties.items()},
            "required": [key for key, kind in properties.items() if not kind.startswith("?")],
        },
    }


TOOLS: dict[str, tuple[Callable[[Words], str], Words]] = {
    "Read": (read, offer("Read", "Return a file's text.", file_path="string")),
    "Write": (write, offer("Write", "Write a whole file.", file_path="string", content="string")),
    "Edit": (
        edit,
        offer(
            "Edit",
            "Replace a text in a file; it must stand there once, unless replace_all.",
            file_path="string",
            old_string="string",
            new_string="string",
            replace_all="?boolean",
        ),
    ),
    "Bash": (bash, offer("Bash", f"Run a line of shell, at most {BASH_SECONDS} seconds.", command="string")),
}


def ask(body: Words) -> Words:
    """Return the API's reply; it follows no redirect, which would carry the key away."""
    try:
        address = urlsplit(os.environ.get("ANTHROPIC_BASE_URL") or HOST)
        host, port = address.hostname, address.port
    except ValueError:
        host, port = None, None
    if not host or address.scheme not in ("http", "https"):
        raise Wrong("ANTHROPIC_BASE_URL is not an http address")
    headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    if key := os.environ.get("ANTHROPIC_API_KEY"):
        headers["x-api-key"] = key
    elif token := os.environ.get("ANTHROPIC_AUTH_TOKEN"):
        headers["authorization"] = f"Bearer {token}"
    else:
        raise Wrong("there is no key: set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN")
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    for pause in (*RETRIES, None):
        connection = kind(host, port, timeout=WAIT)
        try:
            connection.request("POST", address.path.rstrip("/") + "/v1/messages", json.dumps(body).encode(), headers)
            response = connection.getresponse()
            data = response.read(REPLY_MAX)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # a key with a line break is a ValueError that quotes it: only the kind of the error is told
            raise Wrong(f"the model at {host} did not answer: {type(error).__name__}") from error
        finally:
            connection.close()
        if pause is None or (response.status != 429 and response.status < 500):
            break
        time.sleep(pause)
    try:
        reply = json.loads(data)
    except (ValueError, RecursionError):
        reply = None
    if response.status == 200 and isinstance(reply, dict) and isinstance(reply.get("content"), list):
        return reply
    said = reply.get("error") if isinstance(reply, dict) else None
    message = said.get("message") if isinstance(said, dict) else "not a reply of the Messages API"
    raise Wrong(f"API error {response.status}: {message}")


def use(block: Words, names: list[str]) -> Words:
    """Use one tool and return the block that answers the model."""
    result = {"type": "tool_result", "tool_use_id": block.get("id"), "is_error": False}
    name, given = block.get("name"), block.get("input")
    try:
        if name not in names:
            raise Wrong(f"there is no tool {name}")
        said = TOOLS[name][0](given if isinstance(given, dict) else {})
    except (Wrong, OSError, ValueError) as error:
        said, result["is_error"] = str(error).strip(), True
    result["content"] = said if len(said) <= ANSWER_MAX else said[:ANSWER_MAX] + "\n(cut here)"
    return result


def say(kind: str, **fields: object) -> None:
    """Print one line of the stream at once."""
    print(json.dumps({"type": kind, **fields}, separators=(",", ":")), flush=True)


def work(prompt: str, model: str, names: list[str], session: str, spent: dict[str, int]) -> str:
    """Talk with the model until it uses no more tools; return its last words."""
    talk: list[Words] = [{"role": "user", "content": prompt}]
    offers = [TOOLS[name][1] for name in names]
    for _ in range(TURNS):
        reply = ask({"model": model, "max_tokens": TOKENS, "system": SYSTEM, "tools": offers, "messages": talk})
        usage = reply.get("usage")
        for key, value in usage.items() if isinstance(usage, dict) else ():
            if type(value) is int:
                spent[key] = spent.get(key, 0) + value
        blocks = [block for block in reply["content"] if isinstance(block, dict)]
        say("assistant", message={"role": "assistant", "content": blocks, "usage": usage}, session_id=session)
        if reply.get("stop_reason") in ("max_tokens", "refusal"):
            raise Wrong(f"the model stopped early: {reply['stop_reason']}")
        uses = [block for block in blocks if block.get("type") == "tool_use"]
        if not uses:
            return "\n".join(str(block.get("text")) for block in blocks if block.get("type") == "text")
        results = []
        for block in uses:
            results.append(use(block, names))
            say("user", message={"role": "user", "content": results[-1:]}, session_id=session)
        talk += [{"role": "assistant", "content": blocks}, {"role": "user", "content": results}]
    raise Wrong(f"it was not done after {TURNS} turns")


def stop(number: int, _frame: FrameType | None) -> NoReturn:
    """End by an exception, so that a running tool is ended too."""
    raise SystemExit(128 + number)


def main(arguments: list[str]) -> int:
    """Run one prompt."""
    parser = argparse.ArgumentParser(prog="bundled", description="A small coding agent; the prompt comes on stdin.")
    parser.add_argument("--model", default=os.environ.get("ANTHROPIC_MODEL") or MODEL)
    parser.add_argument("--tools", default=",".join(TOOLS), help="comma separated")
    parser.add_argument("--version", action="version", version="bundled agent 1")
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    prompt = sys.stdin.buffer.read().decode("utf-8", "replace")
    if not prompt.strip():
        print("error: the prompt is empty: it is read from stdin", file=sys.stderr)
        return 2
    names = [name for name in TOOLS if name in options.tools.split(",")]
    session, began = str(uuid.uuid4()), time.monotonic()
    spent: dict[str, int] = {}
    say("system", subtype="init", cwd=os.getcwd(), session_id=session, tools=names, model=options.model)
    failed = False
    try:
        answer = work(prompt, options.model, names, session, spent)
    except Wrong as error:
        failed, answer = True, str(error)
        print(f"error: {answer}", file=sys.stderr)
    say(
        "result",
        subtype="error_during_execution" if failed else "success",
        is_error=failed,
        duration_ms=int(1000 * (time.monotonic() - began)),
        result=answer,
        session_id=session,
        usage=spent,
    )
    return int(failed)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BrokenPipeError:
        os._exit(141)  # nobody reads: the interpreter's own flush would fail again, in many lines
