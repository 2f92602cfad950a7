"""Sessions on a real cluster: a pod of their own that is closed like a project's, and nothing of them left or lost at their end."""

import json
import os
import signal
import subprocess

import pytest

from tests.cluster.conftest import error

pytestmark = pytest.mark.cluster


@pytest.fixture
def project(there):
    """A project with its pod, deleted in the end."""
    made = there("project", "create", "shop", "-o", "json")
    assert made.returncode == 0, made.stderr
    yield json.loads(made.stdout)
    there("project", "delete", "shop", "--yes")


def begun(there, *words):
    said = there("session", "start", "shop", *words, "-o", "json")
    assert said.returncode == 0, said.stderr.decode()
    return json.loads(said.stdout)


def test_a_session_is_a_pod_a_claim_and_a_policy_with_its_own_id_and_all_go_with_it(there, project, kubectl, left):
    before = sorted(left())
    session = begun(there)
    assert sorted(left()) == sorted([*before, *(f"{kind}/{session['pod']}" for kind in ("Pod", "PersistentVolumeClaim", "NetworkPolicy"))])
    labels = kubectl("get", "pod", session["pod"], "-o", "json")["metadata"]["labels"]
    assert labels["rdev.orchard9.ai/id"] == session["id"]
    assert labels["rdev.orchard9.ai/name"] == "shop"
    ran = there("session", "shell", session["id"], "git branch --show-current; echo new >note; hostname")
    assert ran.stdout.split() == [session["branch"].encode(), session["pod"].encode()]
    assert there("exec", "shop", "--", "test", "-e", "note").returncode == 1  # it is not the project's work tree
    # neither is taken for a project
    assert [one["name"] for one in json.loads(there("project", "list", "--all", "-o", "json").stdout)["items"]] == ["shop"]
    assert error(there("project", "adopt", session["pod"], "--yes", "-o", "json"))["code"] == "NOT_FOUND"
    ended = json.loads(there("session", "end", session["id"], "-o", "json").stdout)
    assert (ended["state"], ended["rescue"]) == ("ended", f"rdev/rescue/{session['id']}")
    assert sorted(left()) == before
    kept = subprocess.run(["git", "-C", project["repository"], "show", f"{ended['rescue']}:note"], capture_output=True, check=True)
    assert kept.stdout == b"new\n"


def test_the_work_tree_of_a_pod_that_was_deleted_is_found_again_and_kept(there, project, kubectl, left):
    before = sorted(left())
    session = begun(there)
    assert there("session", "shell", session["id"], "echo precious >note").returncode == 0
    kubectl("delete", "pod", session["pod"], "--grace-period=0", "--force")
    ended = there("session", "end", session["id"], "-o", "json")
    assert ended.returncode == 0, ended.stderr.decode()
    rescue = json.loads(ended.stdout)["rescue"]
    shown = subprocess.run(["git", "-C", project["repository"], "show", f"{rescue}:note"], capture_output=True, check=True)
    assert shown.stdout == b"precious\n"
    assert sorted(left()) == before


def test_a_start_that_was_killed_is_swept_by_gc(there, project, spawn, left):
    before = sorted(left())
    process = spawn("session", "start", "shop")
    while len(left()) == len(before):
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    swept = there("gc")
    assert b"ended 1 session" in swept.stderr, swept.stderr.decode()
    assert sorted(left()) == before
    (session,) = json.loads(there("session", "list", "-o", "json").stdout)["items"]
    assert (session["state"], session["reason"]) == ("ended", "failed")


def test_a_terminal_in_a_pod_outlives_who_sits_at_it(there, project, screen):
    session = begun(there)
    one = screen("session", "attach", session["id"])
    one.shows(b"leaves it")
    os.write(one.master, b"kept=here; echo so-$((40+2)); stty size\r")
    one.shows(b"so-42")
    one.shows(b"33 101")
    os.write(one.master, b"\x10\x11")
    assert one.ends() == 0
    two = screen("session", "attach", session["id"], rows=40, columns=90)
    two.shows(b"so-42")
    os.write(two.master, b"echo and-$kept; until [ \"$(stty size)\" = '40 90' ]; do sleep 0.1; done; echo sized-$((1+1))\r")
    two.shows(b"and-here")
    two.shows(b"sized-2")
    os.write(two.master, b"exit 5\r")
    assert two.ends() == 5


def test_a_session_takes_a_warm_pod_and_gives_it_back_clean(there, project, kubectl, left):
    before = sorted(left())
    if there("pool", "fill", "1").returncode != 0:
        pytest.fail("the pool could not be filled")
    session = begun(there)
    assert session["worker"].startswith("wrk_")
    assert session["pod"].startswith("rdev-pool-")
    assert there("session", "shell", session["id"], "echo precious >note; echo left >~/.profile").returncode == 0
    ended = json.loads(there("session", "end", session["id"], "-o", "json").stdout)
    assert ended["rescue"] == f"rdev/rescue/{session['id']}"
    (worker,) = json.loads(there("pool", "list", "-o", "json").stdout)["items"]
    assert (worker["id"], worker["state"], worker["leases"]) == (session["worker"], "idle", 1)
    again = begun(there)
    assert again["worker"] == session["worker"]
    found = there("session", "shell", again["id"], "ls -A; cat ~/.profile 2>/dev/null").stdout.split()
    assert b"note" not in found
    assert b"left" not in found
    assert there("session", "end", again["id"]).returncode == 0
    assert there("pool", "drain", "--yes").returncode == 0
    assert sorted(left()) == before
