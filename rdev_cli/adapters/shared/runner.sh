# rdev's runner: starts one command, spools what it prints, records how it ended. POSIX sh, cat, mkdir, mv; sleep and setsid if there.
# sh -c THIS rdev DIR BLOCKS LIMIT GRACE INPUT MODE ARGV...
#   DIR     made here, by mkdir: whoever makes it starts the command, everybody else only looks
#   BLOCKS  the cap of a stream in 512-byte blocks     LIMIT  seconds, 0: none     GRACE  seconds between TERM and KILL
#   INPUT   1: stdin goes to the command; it ends well only if DIR/in is there when it ends
#   MODE    box: a sandbox reports the command's process in DIR/box by descriptor 9; tty: a terminal its name; else: plain
# DIR holds: out err (streams) · pid (`runner start core child core-start child-start`) · began (the command ran) · in (stdin is complete)
#   stop.* (why it shall end) · out.cut err.cut (a stream was cut) · ended · exit (`code how`, by rename, last of all)
#   limit (seconds; only where there is no sleep: whoever looks on has to stop it) · status (the child's) · timer (its sleep) · *.pump (the cat that moves a stream)
# The first line on stdout is `ready [note]` or says what went wrong; stdout closes when exit is written.
umask 077
dir=$1 blocks=$2 limit=$3 grace=$4 input=$5 mode=$6
shift 6
if ! mkdir "$dir" 2>/dev/null; then
  if [ -d "$dir" ]; then echo exists; else echo "cannot make $dir"; fi
  exit 3
fi
# every record gets its room on the disk now, and happens later in place or by rename: a disk that fills up cannot take it
blank='                                                            '
room() {
  echo "lost$blank" >"$dir/code" && printf '' >"$dir/out" && printf '' >"$dir/err" || return
  for file in began box status timer pid.new out.pump err.pump in.pump .ended .out.cut .err.cut .stop.stdin .stop.timeout; do
    echo "$blank" >"$dir/$file" || return
  done
}
room 2>/dev/null || { echo "cannot write in $dir"; exit 3; }
exec 4>&1 >/dev/null 2>&1
note=
command -v setsid >/dev/null || [ "$mode" = box ] || note="$note no-setsid"
command -v sleep >/dev/null || note="$note no-sleep"

mark() { mv "$dir/.$1" "$dir/$1"; } # NAME: from here on it is so
put() { printf '%s\n' "$2$blank" 1<>"$dir/$1"; } # FILE WORDS

nap() { # a tenth of a second, or the whole one that an old sleep knows; step says how many tenths
  step=1
  sleep 0.1 && return
  step=10
  sleep 1 && return
  step=1
  read -r was _ </proc/uptime || return
  now=$was
  while [ "${now%?}" = "${was%?}" ]; do read -r now _ </proc/uptime; done
}

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
    put "$1.pump" "$self"
    ulimit -f "$blocks"
    exec cat >>"$dir/$1"
  )
  code=$?
  put "$1.pump" '' # the number may be a stranger's from now on
  [ "$code" -ne 0 ] || return
  [ "$code" -ne 137 ] || [ ! -e "$dir/ended" ] || return # let go
  mark "$1.cut"
  printf '\n[rdev: output cut here]\n' >>"$dir/$1"
  whoami_
  put "$1.pump" "$self"
  exec cat >/dev/null
}

feed() { # the caller's stdin to the command; an end without DIR/in is a break, not an end of file
  trap '' TERM HUP INT
  (
    whoami_
    put in.pump "$self"
    [ ! -e "$dir/ended" ] || exit
    exec cat 4>&-
  )
  code=$?
  put in.pump ''
  [ ! -e "$dir/ended" ] || return
  case $code in
    0) [ ! -e "$dir/in" ] || return ;;
    1 | 141) return ;; # the command reads no more
  esac
  mark stop.stdin
  until [ -e "$dir/pid" ] || [ -e "$dir/ended" ]; do nap; done
  read -r _ _ core _ <"$dir/pid" && kill -TERM "$core"
  until [ -e "$dir/ended" ]; do nap; done # the pipe stays open as long as somebody might read an end out of it
}

group() { # SIGNAL to all that the command started
  box=
  [ "$mode" != box ] || read -r box <"$dir/box"
  if [ -n "$box" ]; then
    box=${box#*\"child-pid\": }
    kill "-$1" "-${box%%[!0-9]*}"
  elif [ -n "$own" ]; then
    kill "-$1" "-$child" # no `--`: busybox and dash do not agree on it
  else
    kill "-$1" "$child"
  fi
}

began() { read -r began <"$dir/began" && [ -n "$began" ]; }

end() { # TERM to all, the grace, KILL
  turn=0
  # before that there is nobody in the group yet who could take it
  until began || [ "$turn" -ge "$((grace * 10))" ] || ! kill -0 "$child"; do nap; turn=$((turn + step)); done
  group TERM
  turn=0
  while kill -0 "$child" && [ "$turn" -lt "$((grace * 10))" ]; do nap; turn=$((turn + step)); done
  kill -0 "$child" && { group KILL; kill -KILL "$child"; }
}

# The command's parent has it in the foreground, because what a shell starts in the background ignores INT and QUIT for good;
# so another one keeps watch. The pipe between them carries the child's number and ends with it.
core() {
  own=
  [ "$mode" = box ] || ! command -v setsid >/dev/null || own=setsid
  exec 5>&1 6>&2 7<&0 8<>"$dir/began" >/dev/null 2>&1
  # only who reports there gets it: a command could name a stranger's process in it
  [ "$mode" = plain ] || exec 9<>"$dir/box"
  { one "$@"; put status "$?"; } | { exec 3<&0 </dev/null 5>&- 6>&- 7<&- 8>&- 9>&-; keep; }
}

one() (
  whoami_
  echo "$self $start"
  exec <&7 >&5 2>&6 4>&- 5>&- 6>&- 7<&-
  exec $own "$@"
)

keep() {
  whoami_
  core=$self core_start=$start
  stopping=
  # not in the loop below: what comes between its test and its wait would be forgotten until the command ends
  trap '[ -n "$stopping" ] || { stopping=1; end & }' TERM
  trap '' HUP INT PIPE # PIPE: whoever waits for `ready` may be gone
  read -r child child_start <&3 || return
  cat <&3 4>&- &
  over=$!
  exec 3<&-
  put pid.new "$runner $runner_start $core $child $core_start $child_start" && mv "$dir/pid.new" "$dir/pid"
  echo "ready$note" >&4
  exec 4>&-
  timer=
  if [ "$limit" -gt 0 ] && ! command -v sleep; then
    echo "$limit" >"$dir/limit"
  elif [ "$limit" -gt 0 ]; then
    (
      (whoami_; put timer "$self"; exec sleep "$limit")
      code=$?
      put timer over
      [ "$code" -eq 0 ] && mark stop.timeout && kill -TERM "$core"
    ) &
    timer=$!
  fi
  while kill -0 "$over"; do wait "$over"; done # a signal ends the wait, not the command
  read -r code <"$dir/status" && [ -n "$code" ] || return
  if [ -n "$timer" ]; then
    # KILL, and the sleep itself: a shell that was just born can lose a TERM
    until read -r sleeper <"$dir/timer" && [ -n "$sleeper" ] || ! kill -0 "$timer"; do nap; done
    [ "$sleeper" = over ] || kill -KILL "$sleeper"
  fi
  # the first process has ended: so does its group, and whatever left the group and still holds the streams is not waited for
  if [ "$mode" != box ]; then
    if [ -n "$own" ] && group TERM; then
      turn=0
      while group 0 && [ "$turn" -lt 10 ]; do nap; turn=$((turn + step)); done
      group KILL
    fi
  fi
  how=exited
  if [ -e "$dir/stop.stdin" ]; then how=stdin
  elif [ -e "$dir/stop.timeout" ]; then how=timeout
  elif [ -n "$stopping" ]; then how=cancelled
  elif ! began; then how=setup
  fi
  printf '%s %s %s' "$code" "$how" "$blank" 1<>"$dir/code"
  mark ended
  # the caller may have more to say, but nobody listens
  let_go in
  (
    turn=0
    until [ -e "$dir/exit" ]; do
      [ "$turn" -lt 5 ] || { let_go out; let_go err; break; }
      nap
      turn=$((turn + step))
    done
  ) &
}

let_go() { # STREAM: ends its cat though somebody still holds the pipe, once it has moved all that was written
  turn=0 cat=
  while read -r cat <"$dir/$1.pump" && [ -n "$cat" ] && [ "$turn" -lt 100 ]; do
    stat_='S'
    [ "$1" = in ] || read -r stat_ <"/proc/$cat/stat"
    case ${stat_##*) } in S*) break ;; esac
    nap
    turn=$((turn + step))
  done
  [ -z "$cat" ] || kill -KILL "$cat"
}

# `exec` in a group instead of a redirected function: dash would keep copies of the descriptors, and the streams would never end
work() {
  { { exec 2>&1 >&3 3>&-; core "$@"; } | pump err; } 3>&1 | pump out
}

whoami_
runner=$$ runner_start=$start
if [ "$input" = 1 ]; then feed | work "$@"; else work "$@"; fi
[ ! -e "$dir/ended" ] || mv "$dir/code" "$dir/exit"
