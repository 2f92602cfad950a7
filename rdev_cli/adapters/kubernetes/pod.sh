# rdev's hand in a pod, one per connection: starts a runner, follows its folder, ends what it runs. POSIX sh, cat, mkdir, mv; the rest if there.
# All of it, the runner and its argv included, comes by stdin and not on an argv: that is a URL, which proxies bound and audit logs keep.
# Before this text stand assignments:
#   mark        what rdev's own lines on stdout begin with; nobody else knows it
#   run work home   the folders of runners, of the work, of its user
#   what id     start, terminal, follow, stop, signal, remove, sweep; the command
#   skip_out skip_err  64 KiB blocks of the streams that the client has     more  one word that some need
#   header input runner and the positional parameters: for start, what the runner's stdin begins with, whether more follows, the runner, its argv after DIR
# On stdout, between bytes of the command's own, lines `MARK word ...`:
#   said LINE   the runner's first line      from OUT ERR   the offsets that streams begin at      seen   all was told that was there
#   in          stdin came to its end here, not the connection    whole   and somebody has said so    deaf   the command reads no more
#   alive          nothing is new, but all is well
#   end OUT ERR AGE CUT CODE HOW [CAUSE]     final sizes (`?`: unknown), seconds since, out.cut err.cut as 0 or 1, the exit record
#   dead        nothing of it lives, and there is no record      gone   there is no such folder
# After `end` the client may say `ok` on stdin: it has everything, and the folder goes.
umask 077
exec 5>&2 2>/dev/null
[ -z "$home" ] || [ ! -d "$home" ] || { HOME=$home && export HOME; }
[ -w "$run" ] || { run=/tmp/.rdev && mkdir -p "$run"; }
dir=$run/$id

say() { printf '%s %s\n' "$mark" "$*"; }

nap() { # SECONDS MILLISECONDS, or the second that an old sleep knows; a signal ends it
  slept=$2
  sleep "$1" &
  wait "$!" && return
  case $? in
    1[3-9]? | 2??) kill "$!"; wait "$!"; return ;; # woken
    127) read -r up _ </proc/uptime && since=$up && while [ "${since%?}" = "${up%?}" ]; do read -r up _ </proc/uptime; done; slept=100 ;;
    *) sleep 1; slept=1000 ;;
  esac
}

ids() { read -r first first_start core child core_start child_start <"$dir/pid" && [ -n "$child_start" ]; }

runs() { # PID START: no zombie, and no stranger that was given the number again
  read -r stat_ <"/proc/$1/stat" || return
  set -- "$2" ${stat_##*) }
  group=$4
  [ "$2" != Z ] && { [ "$1" = 0 ] || [ "${21}" = "$1" ]; }
}

outlived() { # ends what a runner that was killed itself has left; says whether any of it still lives
  if runs "$core" "$core_start"; then kill -TERM "$core"; return; fi
  runs "$child" "$child_start" || return
  [ "$group" != "$child" ] || kill -KILL "-$child"
  kill -KILL "$child"
}

lives() {
  if ids; then
    runs "$first" "$first_start" || outlived
  else # it has just made its folder
    [ -d "$dir" ] && [ ! -e "$dir/taken" ] && [ "$young" -lt 10000 ]
  fi
}

ooms() { # how often the kernel has killed for memory here
  oom=0
  for file in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
    [ ! -r "$file" ] || while read -r key value; do [ "$key" != oom_kill ] || oom=$value; done <"$file"
  done
}

# The command's stdin: first lines that escape bytes as printf's %b takes them, then, if there is much, the bytes themselves. An end of the connection
# is no end of file: only who hears `in` over this same connection can have sent all of it, and says so over another.
feed() {
  printf %s "$header"
  [ "$input" = 1 ] || return 0
  while IFS= read -r line; do
    case $line in
      .*) printf %b "${line#.}" || return 1 ;;
      end) : >"$dir/in"; return 0 ;;
      cut) return 0 ;;
      size*) set -- $line; read -r tty <"$dir/box" && stty rows "$2" cols "$3" <"$tty" ;;
      raw)
        cat || return 1
        : >"$dir/eof"
        turn=0
        until [ -e "$dir/in" ] || [ -e "$dir/ended" ] || [ -e "$dir/broken" ] || [ "$turn" -gt 30000 ]; do nap 0.05 50; turn=$((turn + slept)); done
        return 9
        ;;
    esac
    kill -USR1 "$follower"
  done
  return 9
}

feeder() {
  (feed)
  fed=$?
  exec >/dev/null # the runner's stdin ends here
  case $fed in
    0) listen ;;
    9) ;;
    *) # what the command reads no more is swallowed, so that nobody waits for ever to send it
      read -r _ whose <"$dir/ooms" && [ "$whose" = "$$" ] && : >"$dir/deaf" # not of somebody else's command under the same id
      cat
      ;;
  esac
  hang
}

listen() { # until the client goes: the container runtime leaves what it has started, and whatever that wants to say would wait for ever
  while read -r word; do
    [ "$word" != ok ] || { remove; return; }
  done
}

hang() { # ends this connection's processes, and no runner
  runs "$$" 0
  if [ "$group" = "$$" ] && [ -n "$apart" ]; then kill -KILL "-$$"; else kill -KILL "$follower"; fi
}

# The runner has the foreground, because what a shell starts in the background ignores INT and QUIT for good; so the follower is beside it.
start() {
  own= apart=
  command -v setsid >/dev/null && own=setsid apart=1
  for tool in $needs; do
    command -v "$tool" >/dev/null || { say said "no $tool"; return; }
  done
  said=$run/$id.$$
  cd "$work" || { say said "cannot enter $work"; return; }
  : >"$said" || { say said "cannot write in $run"; return; }
  { trap 'idle=0' USR1; said && follow; } <&3 &
  follower=$!
  { feeder <&3 3<&- 5>&- & } | $own $shell -c "$runner" rdev "$dir" "$@" >"$said" 3<&- 5>&-
  [ ! -e "$said" ] || echo >>"$said" # perhaps its only line: it could not even begin
  wait "$follower"
}

said() { # tells the runner's first line; no if it is no good one
  ooms
  before=$oom young=0
  until read -r line <"$said"; do
    young=$((young + 1))
    [ "$young" -lt 2000 ] || nap 0.02 20
    [ "$young" -lt 4000 ] || { line='the runner did not begin'; break; } # whoever was to start it was killed
  done
  say said "$line"
  rm -f "$said" &
  case $line in
    ready*) printf '%s %s\n' "$before" "$$" >"$dir/ooms" ;;
    exists) ;;
    *) return 1 ;;
  esac
}

move() { # DESCRIPTOR: what is new in a stream, bounded if it can be, so that the other has its turn
  if [ -n "$dd" ]; then dd bs=262144 count=32 <&"$1"; else cat <&"$1"; fi
}

at() { read -r _ at </proc/self/fdinfo/"$1" || at='?'; }

follow() {
  while read -r first first_start <"$dir/terminal" && runs "$first" "$first_start"; do
    say seen # by whoever has the terminal; nobody else can have what it prints
    nap 1 1000
  done
  [ ! -e "$dir/terminal" ] || { say dead; return; }
  young=0
  until [ -r "$dir/out" ] && [ -r "$dir/err" ]; do # its runner has just made the folder, or somebody has taken everything
    [ -d "$dir" ] && [ ! -e "$dir/taken" ] && [ "$young" -lt 10000 ] || { say gone; return; }
    nap 0.02 20
    young=$((young + slept))
  done
  exec 6<"$dir/out" 7<"$dir/err"
  dd= from_out=0 from_err=0
  at 6
  [ "$at" = '?' ] || ! command -v dd >/dev/null || dd=1
  [ -z "$dd" ] || [ "$skip_out" -eq 0 ] || { dd bs=65536 count=0 skip="$skip_out" <&6 && from_out=$((skip_out * 65536)); }
  [ -z "$dd" ] || [ "$skip_err" -eq 0 ] || { dd bs=65536 count=0 skip="$skip_err" <&7 && from_err=$((skip_err * 65536)); }
  say from "$from_out" "$from_err"
  idle=0 quiet=0 young=0 seen= told= out=$from_out err=$from_err fate=
  while :; do
    # before the streams: a record says that they are final
    [ ! -e "$dir/exit" ] || fate=end
    [ -n "$fate" ] || lives || { [ -e "$dir/exit" ] && fate=end || fate=dead; }
    was=$out/$err
    while :; do
      move 6
      move 7 >&5
      more_out=$out more_err=$err
      at 6; out=$at
      at 7; err=$at
      [ -n "$dd" ] && [ "$((out - more_out + err - more_err))" -ge 8388608 ] || break
    done
    [ -z "$fate" ] || break
    [ -n "$seen" ] || { seen=1; say seen; }
    if [ -n "$told" ]; then :
    elif [ -e "$dir/in" ]; then told=1; say whole
    elif [ -e "$dir/deaf" ]; then told=1; say deaf
    elif [ -e "$dir/eof" ]; then told=1; say in
    fi
    if [ "$out/$err" != "$was" ]; then idle=0 quiet=0; fi
    if [ "$idle" -lt 100 ]; then nap 0.01 15
    elif [ "$idle" -lt 3000 ]; then nap 0.04 45
    elif [ "$idle" -lt 60000 ]; then nap 0.1 105
    else nap 0.25 255
    fi
    idle=$((idle + slept)) quiet=$((quiet + slept)) young=$((young + slept))
    [ "$quiet" -lt 5000 ] || { quiet=0; say alive; }
  done
  [ "$fate" = end ] || [ -e "$dir/taken" ] || { say dead; return; }
  read -r code how _ <"$dir/exit"
  age=0 cut=00 cause=
  if [ -z "$seen" ]; then # it ended before anybody looked
    now=$(date +%s) && then=$(stat -c %Y "$dir/exit") && age=$((now - then))
  fi
  [ ! -e "$dir/out.cut" ] || cut=10
  [ ! -e "$dir/err.cut" ] || cut=${cut%?}1
  ooms
  [ "$code" != 137 ] || ! read -r before _ <"$dir/ooms" || [ "$oom" -le "$before" ] || cause=OOMKilled
  # only now is it sure that nobody else has taken it away while this was read
  [ ! -e "$dir/taken" ] || { say gone; return; }
  say end "$out" "$err" "$age" "$cut" "$code" "$how" "$cause"
  # a caller that had more to say than the command read learns from the end of the connection that nobody listens
  [ "$what" = follow ] || [ "$input" = 0 ] || [ -e "$dir/in" ] || return
  turn=0
  until [ "$turn" -gt 20000 ]; do nap 1 1000; turn=$((turn + slept)); done # whoever listens ends this
}

remove() {
  case $id in
    run_*) rm -rf "$dir" ;;
    *) # the folder stays, as long as its output is kept anywhere: the same id again starts nothing
      : >"$dir/taken"
      rm -rf "$dir"/[!t]* "$dir"/timer "$dir"/.[!.]*
      find "$run" -name taken -mtime +7 | while read -r old; do rm -rf "${old%/taken}"; done
      ;;
  esac
}

halt() { # REASON
  [ -d "$dir" ] || { say did none; return; }
  if read -r first first_start <"$dir/terminal"; then
    ! runs "$first" "$first_start" || { kill -HUP "-$first" "$first"; nap 1 1000; }
    ! runs "$first" "$first_start" || kill -KILL "-$first"
    say did sent
    return
  fi
  ids || { say did early; return; }
  runs "$first" "$first_start" || { say did ended; return; }
  [ "$1" != timeout ] || : >"$dir/stop.timeout"
  kill -TERM "$core"
  say did sent
}

exec 3<&0 # what is started in the background would have no stdin else
case $what in
  terminal)
    mkdir "$dir" && read -r stat_ </proc/self/stat
    set -- "$(set -- ${stat_##*) }; echo "${20}")" "$@"
    printf '%s %s\n' "$$" "$1" >"$dir/terminal"
    shift
    cd "$work" || exit 125
    exec 2>&5 8>/dev/null 3<&- 5>&- "$@"
    ;;
  start) start "$@" ;;
  follow)
    [ -d "$dir" ] || { say gone; exit; }
    [ -z "$more" ] || : >"$dir/$more"
    follower=$$ apart=1
    { listen; hang; } <&3 &
    follow
    hang
    ;;
  stop) halt "$more" ;;
  signal)
    if ids && runs "$first" "$first_start" && runs "$child" "$child_start"; then
      if [ "$group" = "$child" ]; then kill "-$more" "-$child"; else kill "-$more" "$child"; fi
    fi
    say did done
    ;;
  remove) remove; say did done ;;
  sweep)
    for dir in "$run/$id"*; do
      [ -d "$dir" ] || continue
      turn=0
      while ids && runs "$first" "$first_start" && [ "$turn" -lt 6000 ]; do
        kill -TERM "$core"
        nap 0.05 50
        turn=$((turn + slept))
      done
      remove
    done
    say did done
    ;;
esac
