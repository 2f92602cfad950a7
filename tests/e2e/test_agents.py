"""Agents as a user meets them: which one works, with what, what it used, how a conversation goes on, and its own screen."""

import json
import os
import subprocess
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[1] / "support"


def _json(done: "subprocess.CompletedProcess[bytes]") -> dict:
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def agents(rdev, project) -> str:
    """A project, a stand-in for Claude Code, and two agents of somebody's own."""
    settings = (
        "--agent-path", f"claude={SUPPORT / 'claude'}",
        "--agent-path", f"bot={SUPPORT / 'bot'}",
        "--agent-path", f"talker={SUPPORT / 'bot'}", "--agent-output", "talker=jsonl", "--agent-args", "talker=jsonl",
        "--agent-variables", "talker=BOT_KEY",
    )  # fmt: skip
    done = rdev("context", "set", "local", *settings)
    assert done.returncode == 0, done.stderr
    return project


def test_a_program_of_ones_own_is_an_agent_and_its_lines_are_what_it_says(rdev, agents):
    done = rdev("agent", "run", agents, "mend it", "--agent", "bot", "--tools", "Read,Bash")
    assert done.returncode == 0, done.stderr
    assert done.stderr.decode().splitlines()[1:3] == ["  first line", "  I was given: mend it, tools Read,Bash"]
    assert b"commit " in done.stdout
    assert b"bot.txt" in rdev("git", agents, "--", "show", "--stat").stdout


def test_a_program_that_speaks_json_lines_tells_session_model_tokens_and_cost(rdev, agents):
    env = {"BOT_KEY": "b-1", "OTHER_KEY": "never"}
    answer = _json(rdev("agent", "run", agents, "mend it", "--agent", "talker", "-o", "json", env=env))
    assert (answer["agent"], answer["model"], answer["session"], answer["answer"]) == ("talker", "own", "bot-new", "Done by the bot.")
    assert (answer["input_tokens"], answer["output_tokens"], answer["cost_usd"]) == (10, 3, 0.75)
    events = _json(rdev("events", "--subject", answer["id"], "-o", "json"))["items"]
    assert [e["data"]["text"] for e in events if e["kind"] == "agent.said"] == ["I was given: mend it; key b-1"]


def test_which_agent_works_is_said_by_flag_then_project_then_context(rdev, agents):
    def worked(*flags: str) -> str:
        return _json(rdev("agent", "run", agents, "go", "-o", "json", *flags))["agent"]

    assert worked() == "claude"
    assert rdev("context", "set", "local", "--agent", "bot").returncode == 0
    assert worked() == "bot"
    assert rdev("project", "set", agents, "--agent", "talker", "--model", "m-9").returncode == 0
    assert worked() == "talker"
    assert _json(rdev("agent", "run", agents, "go", "-o", "json"))["model"] == "m-9"
    assert worked("--agent", "claude") == "claude"
    assert rdev("project", "set", agents, "--agent", "").returncode == 0
    assert worked() == "bot"


def test_a_model_and_tools_come_from_the_flag_else_from_the_context(rdev, agents):
    assert rdev("context", "set", "local", "--agent-model", "claude=m-2", "--agent-tools", "claude=Read,Grep").returncode == 0
    done = rdev("claude", agents, "say your tools", "-o", "json")
    assert _json(done)["model"] == "m-2"
    assert _json(rdev("claude", agents, "say", "--model", "m-3", "-o", "json"))["model"] == "m-3"
    said = rdev("claude", agents, "say your tools").stderr
    assert b"tools=Read,Grep" in said
    assert b"tools=Edit" in rdev("claude", agents, "say your tools", "--tools", "Edit").stderr


def test_a_conversation_goes_on_where_it_was(rdev, agents):
    none = rdev("claude", agents, "more", "--resume")
    assert (none.returncode, b"has had no conversation" in none.stderr) == (3, True)
    first = _json(rdev("agent", "run", agents, "one", "--agent", "talker", "-o", "json"))
    again = _json(rdev("agent", "run", agents, "two", "--agent", "talker", "--resume", "-o", "json"))
    assert (first["session"], again["session"]) == ("bot-new", "bot-bot-new")
    named = _json(rdev("agent", "run", agents, "three", "--agent", "talker", "--conversation", first["id"], "-o", "json"))
    assert named["session"] == "bot-bot-new"
    assert _json(rdev("claude", agents, "x", "--conversation", "abc-1", "-o", "json"))["session"] == "abc-1"
    other = rdev("claude", agents, "x", "--conversation", first["id"])
    assert (other.returncode, b"is no conversation of claude" in other.stderr) == (3, True)


def test_what_agents_used_is_summed(rdev, agents):
    empty = rdev("agent", "usage")
    assert (empty.stdout, empty.stderr) == (b"", b"no agent has run yet\n")
    for _ in range(2):
        rdev("agent", "run", agents, "go", "--agent", "talker")
    rdev("claude", agents, "go")
    used = {u["agent"]: u for u in _json(rdev("agent", "usage", agents, "-o", "json"))["items"]}
    assert (used["talker"]["runs"], used["talker"]["input_tokens"], used["talker"]["cost_usd"]) == (2, 20, 1.5)
    assert (used["claude"]["runs"], used["claude"]["output_tokens"]) == (1, 20)
    shown = _json(rdev("project", "show", agents, "-o", "json"))
    assert {u["agent"]: u["runs"] for u in shown["usage"]} == {"talker": 2, "claude": 1}
    assert rdev("project", "show", agents).stdout.count(b"tokens in") == 2
    assert _json(rdev("agent", "usage", "--since", "1h", "-o", "json"))["items"]
    assert rdev("agent", "usage", "nope").returncode == 3


def test_agents_are_listed_shown_and_proved(rdev, agents):
    names = rdev("agent", "list", "-o", "name").stdout.decode().split()
    assert names == ["claude", "opencode", "bundled", "bot", "talker"]
    shown = _json(rdev("agent", "show", "talker", "-o", "json", env={"BOT_KEY": "b-1"}))
    assert (shown["variables"], shown["given"], shown["default"]) == (["BOT_KEY"], ["BOT_KEY"], False)
    assert b"b-1" not in rdev("agent", "show", "talker", env={"BOT_KEY": "b-1"}).stdout
    checks = {c["name"]: c for c in _json(rdev("agent", "health", "-o", "json"))["items"]}
    assert {name: checks[name]["verdict"] for name in ("agent.claude", "agent.bot")} == {"agent.claude": "ok", "agent.bot": "ok"}
    assert rdev("agent", "health", "nobody").returncode == 3


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        (("--agent-output", "bot=xml"), b"lines or jsonl"),
        (("--agent-path", "bot=/nonexistent"), b"is not a program"),
        (("--agent-model", "ghost=m"), b"has no path"),
        (("--agent-args", "claude=x"), b"rdev knows how claude is called"),
        (("--agent-variables", "bot=LD_PRELOAD"), b"no variable that an agent can be given"),
        (("--agent-env", "bot.API_KEY=x"), b"looks like a secret"),
        (("--agent-path", "Bad=/bin/sh"), b"is not allowed"),
        (("--agent-model", "claude"), b"NAME=VALUE"),
    ],
)
def test_a_senseless_setting_of_an_agent_is_refused_and_changes_nothing(rdev, agents, typed, word):
    before = rdev("context", "view", "-o", "json").stdout
    done = rdev("context", "set", "local", *typed)
    assert (done.returncode, word in done.stderr) == (2, True), done.stderr
    assert rdev("context", "view", "-o", "json").stdout == before


def test_a_run_with_senseless_words_is_refused_before_anything_is_recorded(rdev, agents):
    for typed, code in ((("--agent", "ghost"), 3), (("--agent", "Bad!"), 2), (("--tools", "rm -rf"), 2), (("--model", "-x y"), 2)):
        assert rdev("agent", "run", agents, "go", *typed).returncode == code, typed
    assert _json(rdev("command", "list", "-o", "json"))["items"] == []
    assert rdev("project", "set", agents, "--agent", "ghost").returncode == 3


def test_without_a_prompt_a_terminal_gets_the_agents_own_screen_and_its_work_is_committed(rdev, agents, screen):
    seen = screen("claude", agents)
    seen.shows(b"tell me: ")
    os.write(seen.master, b"hello from the screen\r")
    seen.shows(b"commit ")
    assert seen.ends() == 0
    assert seen.restored
    log = rdev("git", agents, "--", "log", "-1", "--format=%s%n%b").stdout
    assert b"Work with claude" in log
    (command,) = _json(rdev("command", "list", "-o", "json"))["items"][-1:]
    assert (command["argv"], command["state"], command["delivered"]) == (["claude"], "completed", "main")


def test_a_screen_that_ends_badly_leaves_the_tree_as_it_is(rdev, agents, screen):
    seen = screen("claude", agents)
    seen.shows(b"tell me: ")
    os.write(seen.master, b"bad\r")
    assert seen.ends() == 9
    assert b"page.txt" in rdev("git", agents, "--", "status", "--porcelain").stdout


def test_a_screen_needs_a_terminal_and_an_agent_that_has_one(rdev, agents, screen):
    piped = rdev("claude", agents)
    assert (piped.returncode, b"needs a terminal" in piped.stderr) == (2, True)
    seen = screen("agent", "run", agents, "--agent", "bot")
    assert seen.ends() == 5
    assert b"has no screen of its own" in seen.seen
