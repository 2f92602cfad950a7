"""The warm pool on a real cluster: what one session leaves, by all the ways there are, the next one does not find; who hides it loses the pod."""

import os
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from rdev_cli.adapters.kubernetes.cluster import KubernetesCluster
from rdev_cli.adapters.kubernetes.manifests import LABEL, WORKER
from rdev_cli.adapters.kubernetes.pool import KubernetesPool
from rdev_cli.domain.project import Project, ProjectSpec
from rdev_cli.domain.worker import Evidence, Worker, WorkerState
from rdev_cli.ops import pool, projects
from tests.fakes.world import MemoryWorld
from tests.support import lab

pytestmark = [pytest.mark.cluster, pytest.mark.state]

LEASES = int(os.environ.get("RDEV_TEST_LEASES", "30"))
AT_ONCE = 4

# What a session leaves behind. CANARY stands in all of it, and FAIL if one of the ways does not exist in this image: then the test is wrong.
_PLANT = r"""
set -e
word=$1
cd /workspace
# daemons: forked twice, of a session of their own, deaf to signals; one that makes its file again, one that starts itself again
(setsid sh -c 'trap "" HUP INT TERM QUIT USR1 USR2; while :; do echo "$0" >/tmp/again; sleep 0.05; done' "$word" >/dev/null 2>&1 &)
(setsid sh -c 'sh -c "while :; do sleep 0.2; done" "$0" & exec sleep 7777' "$word" >/dev/null 2>&1 &)
cat >/tmp/respawn <<'END'
while :; do (setsid sh /tmp/respawn "$1" >/dev/null 2>&1 &) ; sleep 0.3; exit; done
END
(setsid sh /tmp/respawn "$word" >/dev/null 2>&1 &)
# ports and sockets, an abstract one too
(setsid perl -MSocket -e '
  my ($t, $u, $n, $f, $ready);
  socket($t, PF_INET, SOCK_STREAM, 0) and bind($t, sockaddr_in(7000 + $$ % 2000, INADDR_ANY)) and listen($t, 5) or die;
  socket($u, PF_INET, SOCK_DGRAM, 0) and bind($u, sockaddr_in(7000 + $$ % 2000, INADDR_ANY)) or die;
  socket($n, PF_UNIX, SOCK_STREAM, 0) and bind($n, pack("Sa*", AF_UNIX, "\0$ARGV[0]")) and listen($n, 5) or die;
  socket($f, PF_UNIX, SOCK_STREAM, 0) and bind($f, sockaddr_un("/tmp/socket")) and listen($f, 5) or die;
  open($ready, ">", "/tmp/listens"); sleep 7777' "$word" >/dev/null 2>/tmp/perl &)
until [ -e /tmp/listens ] || [ -s /tmp/perl ]; do sleep 0.05; done
# a file in every place that can be written, in closed folders, under names that hurt
find / -xdev -type d -writable -not -path '/proc/*' 2>/dev/null >/tmp/writable || :
for more in /workspace /home/rdev /run/rdev /dev/shm /dev/mqueue; do echo "$more"; done >>/tmp/writable
while read -r folder; do echo "$word" >"$folder/file-$word" 2>/dev/null || touch "$folder/file-$word"; done </tmp/writable
[ "$(grep -c . /tmp/writable)" -ge 7 ]
mkdir -p "$HOME/.closed/in" "$HOME/$(printf 'new\nline')" /var/tmp/.hidden
echo "$word" >"$HOME/.closed/in/file"; echo "$word" >"$HOME/$(printf 'new\nline')/-rf"; echo "$word" >/var/tmp/.hidden/x; ln -s / "$HOME/root"
chmod 000 "$HOME/.closed/in" "$HOME/.closed"
deep=/tmp/deep; for n in 1 2 3 4 5 6 7 8 9 10 11 12; do deep=$deep/$(printf '%0200d' 1); done; mkdir -p "$deep"; echo "$word" >"$deep/x"
# credentials, and what the next shell, editor, git or scrub would read
echo "https://bot:$word@git.example" >"$HOME/.git-credentials"; git config --global credential.helper store
for file in .profile .bashrc .bash_profile .zshenv .env .netrc .ssh/authorized_keys; do
  mkdir -p "$(dirname "$HOME/$file")"; echo "export CANARY=$word PATH=$HOME/bin:/workspace:\$PATH LD_PRELOAD=$HOME/x.so" >"$HOME/$file"
done
mkdir -p "$HOME/bin"
for tool in find sort sha256sum sh rm tar grep ls; do
  printf '#!/bin/sh\necho %s\n' "$word" >"$HOME/bin/$tool"; cp "$HOME/bin/$tool" "/workspace/$tool"; chmod +x "$HOME/bin/$tool" "/workspace/$tool"
done
git init -q /workspace/repository; echo "$word" >/workspace/repository/.git/hooks/post-checkout
# by the clock
mkdir -p "$HOME/.config/systemd/user"; echo "$word" >"$HOME/.config/systemd/user/x.timer"
for folder in /var/spool/cron /var/spool/cron/crontabs /var/spool/at /etc/cron.d; do echo "* * * * * $word" 2>/dev/null >"$folder/rdev" || :; done
# memory that belongs to no process
ipcmk -M 4096 >/dev/null; ipcmk -S 1 >/dev/null; ipcmk -Q >/dev/null
echo "$word" >/dev/termination-log
echo planted
"""

# What the next session sees, by its own means and not by the scrub's: the word itself, and whatever is not to be there.
_SEEK = r"""
{
  for folder in /proc/[0-9]*; do tr '\0' ' ' <"$folder/cmdline"; tr '\0' ' ' <"$folder/environ"; done
  find / -xdev -not -path '/proc/*'; find /workspace /home /run /dev /tmp /var/tmp
  find /tmp /var /workspace /home /run /dev/shm /dev/mqueue /etc /opt /srv /mnt -type f -exec cat {} +
  cat /dev/termination-log; env
  cat /proc/net/unix
  git config --global --list; printf 'protocol=https\nhost=git.example\n\n' | GIT_TERMINAL_PROMPT=0 git credential fill
} 2>/dev/null | tr -c 'A-Za-z0-9\n-' '\n' | grep -o 'CANARY-[0-9a-f][0-9a-f]*' | sort -u
for kind in tcp tcp6 udp udp6; do tail -n +2 "/proc/net/$kind" | grep -v ' 06 00000000:' | sed "s/^/socket $kind/"; done
for kind in shm sem msg; do tail -n +2 "/proc/sysvipc/$kind" | sed "s/^/ipc $kind/"; done
find /workspace /home/rdev /run/rdev /tmp /var/tmp /dev/shm /dev/mqueue -mindepth 1 2>/dev/null | sed 's/^/file /'
"""


class LabWorld(MemoryWorld):
    """A world whose pods are a real cluster's; its forge is a twin."""

    def __init__(self, folder: Path, namespace: str, **shape: Any) -> None:
        super().__init__(folder)
        self._namespace, self._shape = namespace, shape

    @cached_property
    def cluster(self) -> KubernetesCluster:
        one = lab.cluster(self.folder, self._namespace, installation=self.installation, small=self._shape.pop("small", False))
        one.weaker, one.shape = False, replace(one.shape, **self._shape)
        return one

    @cached_property
    def pool(self) -> KubernetesPool:
        return KubernetesPool(self.cluster, self.folder)

    def close(self) -> None:
        lab.close(self.cluster)
        super().close()


Make = Callable[..., LabWorld]


@pytest.fixture
def make(tmp_path: Path, namespace: str) -> Iterator[Make]:
    made: list[LabWorld] = []

    def world(**shape: Any) -> LabWorld:
        twin = MemoryWorld(tmp_path)
        projects.create(twin, ProjectSpec(name="shop"))
        twin.close()
        made.append(LabWorld(tmp_path, namespace, **shape))
        return made[-1]

    yield world
    for one in made:
        for worker in one.store.some(Worker):
            one.pool.destroy(worker.id)
        one.close()


def shop(world: LabWorld) -> Project:
    found = world.store.find_project("shop")
    assert found is not None
    return found


def inside(world: LabWorld, worker: Worker, text: str, *words: str, check: bool = True) -> str:
    return lab.kubectl("-n", world.cluster.namespace, "exec", worker.pod, "--", "sh", "-c", text, "sh", *words, check=check).decode(
        errors="replace"
    )


def claim(world: LabWorld) -> Worker:
    found = pool.claim(world, shop(world), world.new_id("ses"))
    assert found is not None, [(one.state, one.evidence) for one in pool.list_(world)]
    return found


def give_back(world: LabWorld, worker: Worker) -> Evidence:
    return pool.give_back(world, pool._place(shop(world), worker.session, worker.pod), worker.id)


def test_what_every_session_leaves_the_next_one_never_finds(make):
    """RDEV_TEST_LEASES leases, a few at a time: 0 found, and less than 1 in 100 pods destroyed that could have been lent again."""
    world = make()
    pool.fill(world, AT_ONCE)
    found, destroyed, lock, began = [], [], threading.Lock(), time.monotonic()

    def lease(_: int) -> None:
        word = f"CANARY-{secrets.token_hex(16)}"
        with lock:
            if not [one for one in pool.list_(world) if one.state is WorkerState.IDLE]:
                pool.fill(world, 1)
            mine = claim(world)
        if seen := inside(world, mine, _SEEK, check=False).split("\n")[:-1]:
            found.append(seen)
        assert inside(world, mine, _PLANT, word).strip() == "planted"
        there = inside(world, mine, _SEEK, check=False)
        assert word in there
        assert "socket" in there
        assert "ipc" in there
        evidence = give_back(world, mine)
        if not evidence.clean:
            destroyed.append(evidence.doubts)
        else:
            assert evidence.removed > 40
        world.store.close()

    with ThreadPoolExecutor(AT_ONCE) as several:
        list(several.map(lease, range(LEASES)))
    sys.stderr.write(f"{LEASES} leases in {time.monotonic() - began:.0f} s, {len(destroyed)} destroyed: {destroyed[:3]}\n")
    assert found == []
    assert len(destroyed) <= LEASES // 100, destroyed
    assert sum(one.leases for one in pool.list_(world)) >= LEASES - 2 * len(destroyed) - AT_ONCE
    for one in pool.list_(world):
        assert one.evidence.startswith("clean: no processes")


HIDDEN = {
    # what the scrub cannot take away, or what it must not believe
    "an attribute of a folder that stays": (
        """perl -e 'my ($f, $k, $v) = ("/workspace", "user.note", "hello"); exit !!syscall(188, $f, $k, $v, 5, 0)'""",
        "attributes of folders",
    ),
    "another mode of a folder of its own": ("chmod 700 /home/rdev 2>/dev/null || mkdir /workspace/x", ""),
    "the container started again": (
        "kill -TERM 1; sleep 2",
        "PID 1 not as made|started again|does not run|does not answer|could not be looked at",
    ),
    "the limits of PID 1": (r"""perl -e 'my $l = pack("QQ", 3600, 3600); exit !!syscall(302, 1, 0, $l, 0)'""", "PID 1 not as made"),
    "when PID 1 has its turn": ("renice -n 10 -p 1", "PID 1 not as made"),
    "the pod deleted": (None, "gone"),
}


@pytest.mark.parametrize("what", HIDDEN)
def test_what_cannot_be_taken_away_costs_the_pod(make, what):
    world = make()
    pool.fill(world, 1)
    mine = claim(world)
    text, why = HIDDEN[what]
    if text is None:
        lab.kubectl("-n", world.cluster.namespace, "delete", "pod", mine.pod, "--grace-period=1")
    else:
        inside(world, mine, text, check=False)
    evidence = give_back(world, mine)
    assert evidence.clean is (why == ""), evidence
    if why:
        assert re.search(why, evidence.line)
        assert pool.list_(world) == []
        left = lab.kubectl("-n", world.cluster.namespace, "get", "pods,networkpolicies", "-l", f"{WORKER}={mine.id}", "-o", "name")
        assert left == b""


def test_nobody_can_look_into_pid_1_or_speak_for_it(make):
    world = make()
    pool.fill(world, 1)
    mine = claim(world)
    said = inside(
        world,
        mine,
        """
        head -c 1 /proc/1/environ && echo environ; head -c 1 /proc/1/mem && echo mem; readlink /proc/1/exe && echo exe
        echo 'rdev 99 1' >/proc/1/fd/1 && echo stdout
        perl -e 'exit(syscall(101, 16, 1, 0, 0) == 0 ? 0 : 1)' && echo traced
        kill -STOP 1; kill -KILL 1; sleep 0.3; grep -q '^State:.*[SR] ' /proc/1/status && echo runs
        """,
        check=False,
    )
    assert said.split() == ["runs"]
    assert give_back(world, mine).clean


def test_a_session_that_holds_on_to_the_scrubs_own_processes_is_killed_all_the_same(make):
    """The machine lets a process trace another of the same user: one that waits for the scrub and stops whatever it starts gains nothing."""
    world = make()
    pool.fill(world, 1)
    mine = claim(world)
    tracer = r"""
    (setsid perl -e 'sleep 1;
      my %had; while (1) { for my $p (map { m{^/proc/(\d+)$} ? $1 : () } glob "/proc/[0-9]*") {
        next if $p == 1 || $p == $$ || $had{$p}++; syscall(101, 16, $p + 0, 0, 0); kill "STOP", $p; } }' >/dev/null 2>&1 &)
    sleep 0.2
    """
    inside(world, mine, tracer, check=False)
    evidence = give_back(world, mine)
    # either PID 1 was told and everything is gone, or it was not and so is the pod
    if evidence.clean:
        again = claim(world)
        assert "perl" not in inside(world, again, "for f in /proc/[0-9]*/comm; do cat $f; done")
    else:
        assert pool.list_(world) == []


def test_of_twenty_at_once_each_gets_a_worker_of_its_own_or_none(make, tmp_path, namespace):
    world = make()
    pool.fill(world, 6)
    won, took, barrier = [], [], threading.Barrier(20)

    def take(number: int) -> None:
        mine = LabWorld(tmp_path, namespace)
        mine.pool.ready()
        barrier.wait()
        began = time.monotonic()
        got = pool.claim(mine, shop(mine), f"ses_01j9twenty{number:010}")
        took.append(time.monotonic() - began)
        if got is not None:
            won.append((got.pod, got.session))
        mine.close()

    threads = [threading.Thread(target=take, args=(n,)) for n in range(20)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(won) == len({pod for pod, _ in won}) == 6
    for pod, session in won:
        label = lab.kubectl(
            "-n", namespace, "get", "pod", pod, "-o", f"jsonpath={{.metadata.labels.{LABEL.replace('.', chr(92) + '.')}id}}"
        )
        assert label.decode() == session


def test_the_place_itself_decides_where_two_states_have_the_same_workers(make):
    """A state that was copied does not lend what the other one has lent: the patch has a precondition."""
    world = make()
    [worker] = pool.fill(world, 1)
    won, barrier = [], threading.Barrier(8)

    def take(number: int) -> None:
        place = pool._place(shop(world), f"ses_01j9copied{number:010}", worker.pod)
        barrier.wait()
        if world.pool.claim(worker.id, place):
            won.append(place.id)

    threads = [threading.Thread(target=take, args=(n,)) for n in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert [one.session for one in world.pool.standing()] == won
    assert len(won) == 1


def test_a_workers_network_policy_is_its_own_at_every_moment(make):
    world = make(egress="none")
    pool.fill(world, 1)
    seen, over = [], threading.Event()
    policy = world.cluster.api.get(f"{world.cluster.policies}/{pool.list_(world)[0].pod}")
    which = policy["spec"]["podSelector"]["matchLabels"]
    assert which.keys() == {f"{LABEL}installation", WORKER}

    def watch() -> None:
        name = pool.list_(world)[0].pod
        for _, one in lab.api().watch(world.cluster.pods, selector=None, name=name, timeout=20):
            seen.append(one["metadata"]["labels"])
            if over.is_set():
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    mine = claim(world)
    reached = "timeout 1 git ls-remote git://$KUBERNETES_SERVICE_HOST:443/x 2>&1 | grep -c 'unable to\\|timed'; :"
    inside(world, mine, reached)
    assert give_back(world, mine).clean
    over.set()
    lab.kubectl("-n", world.cluster.namespace, "annotate", "pod", mine.pod, "test=over")
    watcher.join()
    assert {one[f"{LABEL}id"] for one in seen} == {mine.id, mine.session}
    assert all(which.items() <= one.items() for one in seen)
    assert world.cluster.api.get(f"{world.cluster.policies}/{mine.pod}")["spec"] == policy["spec"]


def test_an_image_without_the_tools_serves_once_and_says_so(make):
    world = make(small=True)
    pool.fill(world, 1)
    mine = claim(world)
    evidence = give_back(world, mine)
    assert not evidence.clean
    assert evidence.doubts[0].startswith("the image")
    assert pool.list_(world) == []


def test_what_was_made_for_another_context_setting_is_replaced(make):
    world = make()
    [old] = pool.fill(world, 1)
    world.cluster.shape = replace(world.cluster.shape, egress="none")
    assert pool.claim(world, shop(world), world.new_id("ses")) is None
    [new] = pool.fill(world, 1)
    assert new.id != old.id
    assert pool.claim(world, replace(shop(world), network=False), world.new_id("ses")) is not None


def test_an_idle_worker_that_somebody_touched_is_found_by_an_audit(make):
    world = make()
    pool.fill(world, 1)
    [clean] = pool.audit(world)
    assert clean.clean, clean.doubts
    inside(world, pool.list_(world)[0], "echo x >/tmp/left")
    [doubted] = pool.audit(world)
    assert not doubted.clean
    assert "/tmp/left" in doubted.doubts[0]
    assert pool.claim(world, shop(world), world.new_id("ses")) is None
