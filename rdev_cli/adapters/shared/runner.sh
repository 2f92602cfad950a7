# rdev's runner: starts one command, spools what it prints, records how it ended. POSIX sh, cat, mkdir, mv; sleep and setsid if there.
# sh -c THIS rdev DIR BLOCKS LIMIT GRACE INPUT MODE ARGV...
#   DIR     made here, by mkdir: whoever makes it starts the command, everybody else only looks
#   BLOCKS  the cap of a stream in 512-byte blocks     LIMIT  seconds, 0: none     GRACE  seconds between TERM and KILL
#   INPUT   1: stdin goes to the command; it ends well only if DIR/in is there when it ends
#   MODE    box: a sandbox reports the command's process in DIR/box by descriptor 9; else: plain
# DIR holds: out err (streams) · pid (`runner start core child`) · began (the command ran) · in (stdin is complete)
#   stop (why it shall end) · out.cut err.cut (a stream was cut) · exit (`code how`, by rename, last of all)
# The first line on stdout is `ready [note]` or says what went wrong; stdout closes when exit is written.
umask 077
dir=$1 blocks=$2 limit=$3 grace=$4 input=$5 mode=$6
shift 6
if ! mkdir "$dir" 2>/dev/null; then
  if [ -d "$dir" ]; then echo exists; else echo "cannot make $dir"; fi
  exit 3
fi
# the exit record gets its room on the disk now, so that a disk that fills up later cannot take it
{ echo 'lost                                    ' >"$dir/code" && : >"$dir/out" && : >"$dir/err" && : >"$dir/began"; } 2>/dev/null ||
  { echo "cannot write in $dir"; exit 3; }
exec 4>&1 >/dev/null 2>&1
note=
command -v setsid >/dev/null || [ "$mode" = box ] || note="$note no-setsid"
command -v sleep >/dev/null || note="$note no-sleep"

nap() { sleep 0.1 2>/dev/null || sleep 1 2>/dev/null || :; }

# whoami_: sets self and start (clock ticks since boot) of the shell that calls it, without forking
whoami_() {
  self=$$ start=0
  read -r stat_ </proc/self/stat 2>/dev/null || return 0
  set -- "${stat_%% *}" ${stat_##*) }
  self=$1 start=${21}
}

pump() { # STREAM: stdin into the spool up to the cap; then one visible line, and the rest is swallowed
  trap '' TERM HUP INT
  exec 3>&- 4>&-
  (
    whoami_
    echo "$self" >"$dir/$1.pump"
    ulimit -f "$blocks"
    exec cat >>"$dir/$1"
  )
  [ $? -eq 0 ] || [ -e "$dir/ended" ] && return
  mkdir "$dir/$1.cut"
  printf '\n[rdev: output cut here]\n' >>"$dir/$1"
  exec cat >/dev/null
}

feed() { # the caller's stdin to the command; an end without DIR/in is a break, not an end of file
  trap '' TERM HUP INT
  cat 4>&-
  [ $? -eq 0 ] && [ ! -e "$dir/in" ] || return
  mkdir "$dir/stop.stdin"
  read -r _ _ core _ <"$dir/pid" && kill -TERM "$core"
  until [ -e "$dir/ended" ]; do nap; done # the pipe stays open as long as somebody might read an end out of it
}

group() { # SIGNAL to all that the command started
  if [ "$mode" = box ] && read -r box <"$dir/box"; then
    box=${box#*\"child-pid\": }
    kill "-$1" "-${box%%[!0-9]*}"
  elif [ -n "$own" ]; then
    kill "-$1" "-$child" # no `--`: busybox and dash do not agree on it
  else
    kill "-$1" "$child"
  fi
}

core() {
  whoami_
  core=$self
  stopping=
  trap 'stopping=1' TERM
  trap '' HUP INT
  exec 7<&0 8>>"$dir/began" 9>"$dir/box"
  own=
  if [ "$mode" = box ]; then
    "$@" <&7 4>&- 7<&- &
  elif command -v setsid >/dev/null; then
    own=1
    setsid "$@" <&7 4>&- 7<&- &
  else
    "$@" <&7 4>&- 7<&- &
  fi
  child=$!
  exec 7<&- 8>&- 9>&- >/dev/null 2>&1 </dev/null
  echo "$runner $runner_start $core $child" >"$dir/pid.new" && mv "$dir/pid.new" "$dir/pid"
  echo "ready$note" >&4
  exec 4>&-
  timer=
  if [ "$limit" -gt 0 ]; then
    (
      trap 'kill "$nap"; exit' TERM
      sleep "$limit" &
      nap=$!
      wait "$nap"
      [ $? -eq 0 ] || exit 0
      mkdir "$dir/stop.timeout"
      kill -TERM "$core"
    ) &
    timer=$!
  fi
  while :; do
    [ -z "$stopping" ] || break
    wait "$child"
    code=$?
    # a signal ends the wait, not the command
    kill -0 "$child" || break
  done
  if [ -n "$stopping" ] && kill -0 "$child"; then
    group TERM
    turn=0
    while kill -0 "$child" && [ "$turn" -lt "$((grace * 10))" ]; do nap; turn=$((turn + 1)); done
    kill -0 "$child" && { group KILL; kill -KILL "$child"; }
    wait "$child"
    code=$?
  elif [ -n "$stopping" ]; then
    wait "$child"
    code=$?
  fi
  [ -z "$timer" ] || kill -TERM "$timer"
  # the first process has ended: so does its group, and whatever left the group and still holds the streams is not waited for
  if [ "$mode" != box ]; then
    if [ -n "$own" ] && group TERM; then
      turn=0
      while group 0 && [ "$turn" -lt 10 ]; do nap; turn=$((turn + 1)); done
      group KILL
    fi
  fi
  how=exited
  if [ -e "$dir/stop.stdin" ]; then how=stdin
  elif [ -e "$dir/stop.timeout" ]; then how=timeout
  elif [ -n "$stopping" ]; then how=cancelled
  elif [ ! -s "$dir/began" ]; then how=setup
  fi
  printf '%s %s %s' "$code" "$how" '        ' 1<>"$dir/code"
  mkdir "$dir/ended"
  [ "$mode" = box ] || (nap; nap; nap; nap; nap; [ -e "$dir/exit" ] || let_go) &
}

let_go() { # ends the pumps though somebody still holds their pipes
  for stream in out err; do
    read -r pump <"$dir/$stream.pump" && kill -KILL "$pump"
  done
}

# `exec` in a group instead of a redirected function: dash would keep copies of the descriptors, and the streams would never end
work() {
  { { exec 2>&1 >&3 3>&-; core "$@"; } | pump err; } 3>&1 | pump out
}

whoami_
runner=$$ runner_start=$start
if [ "$input" = 1 ]; then feed | work "$@"; else work "$@"; fi
[ ! -e "$dir/ended" ] || mv "$dir/code" "$dir/exit"
