# Wipes a worker, and tells what it is like. Sent by stdin after everything in the pod was killed; no tool is taken from where the pod's user can write.
# Before this text stand assignments:
#   what    make: look whether the image can be proved clean at all, then tell; wipe: remove what came since, then tell; tell
#   since   Unix seconds, with a fraction: when it was made      kept   the process that PID 1 keeps
# On stdout, in this order, and all of it or it is no proof:
#   once WHY           (make) there is no proving here              removed N        (wipe) files, folders and sysv objects
#   processes N NAMES  sockets N KINDS  ipc N  mounts SUM  init START WORD NICE POLICY CPUS SUM  environment SUM  files SUM  notes N  given N
#   changed PATH       (wipe, tell) some of what is newer than the worker           at SECONDS        end
umask 077
unset IFS CDPATH GREP_OPTIONS
LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
cd / || exit 1
exec 2>/dev/null

odd= folders= files= apart="-path /proc"
while read -r _ _ _ _ point _ rest; do
  rest=" $rest"
  kind=${rest#* - }
  case ${kind%% *} in proc | sysfs | cgroup | cgroup2 | devpts) continue ;; esac
  case $point in *[!A-Za-z0-9/._-]*) odd=1 ;; esac
  if [ -d "$point" ]; then folders="$folders $point"; else files="$files $point" apart="$apart -o -path $point"; fi
done </proc/self/mountinfo

can() {
  for tool in find sort sha256sum rm chmod id date tar grep wc head cat sleep ipcrm; do
    [ -x "$(command -v "$tool")" ] || { echo "once the image has no $tool"; return; }
  done
  [ "$(find / -maxdepth 0 -newerct @1 -printf y)" = y ] || { echo "once the image's find cannot tell when a file was changed"; return; }
  [ "$(id -u)" != 0 ] || { echo "once commands run as root"; return; }
  [ -z "$odd" ] || { echo "once a mount has an odd name"; return; }
  own=$(find /bin /sbin /lib /lib64 /usr /etc -xdev ! -type l -writable -print -quit)
  [ -z "$own" ] || { echo "once the image lets its user write $own"; return; }
  ! grep -q . /proc/1/environ || { echo "once a process can look into another's memory, PID 1's too"; return; }
}

ipc() { for kind in shm sem msg; do while read -r one; do echo "$one"; done </proc/sysvipc/$kind | grep -v key; done; }

wipe() {
  for folder in $folders; do
    find "$folder" -xdev -type d -user "$(id -u)" ! -perm -u=rwx -exec chmod u+rwx {} \;
    find "$folder" -xdev -depth -mindepth 1 -newerct "@$since" -delete -printf .
  done
  for file in $files; do
    if [ -f "$file" ] && [ -s "$file" ] && [ -w "$file" ]; then : >"$file" && printf .; fi
  done
  if [ -n "$(ipc)" ]; then ipcrm -a && printf .; fi
}

processes() {
  others=0 names=
  for folder in /proc/[0-9]*; do
    pid=${folder#/proc/}
    read -r stat_ <"$folder/stat" || continue
    name=${stat_#*(} name=${name%)*}
    set -- ${stat_##*) }
    case $pid:$2 in 1:* | $$:* | *:$$ | $kept:1) continue ;; esac
    [ "$1" != Z ] || continue
    others=$((others + 1)) names="$names $name"
  done
  echo "processes $others$names"
}

sockets() {
  open=0 kinds=
  for file in /proc/net/*; do
    kind=${file##*/}
    case $kind in tcp | tcp6 | udp | udp6 | udplite | udplite6 | raw | raw6 | icmp | icmp6 | unix | packet) ;; *) continue ;; esac
    first=1
    while read -r _ local _ state _; do
      if [ -n "$first" ]; then first=; continue; fi
      case $kind:$state in tcp:06 | tcp6:06) continue ;; esac # nobody's any more: the kernel waits for stragglers
      open=$((open + 1)) kinds="$kinds $kind:${local##*:}"
    done <"$file"
  done
  echo "sockets $open$kinds"
}

tell() {
  turn=0
  while :; do # what was cut off may take a moment to be gone
    running=$(processes) listening=$(sockets)
    case "$running/$listening" in 'processes 0/sockets 0') break ;; esac
    [ "$turn" -lt 20 ] || break
    turn=$((turn + 1))
    sleep 0.1
  done
  echo "$running"
  echo "$listening"
  echo "ipc $(ipc | wc -l)"
  echo "mounts $(sha256sum </proc/self/mountinfo)"
  read -r stat_ </proc/1/stat
  set -- ${stat_##*) }
  if grep -q . /proc/1/environ; then word=open; else word=closed; fi
  allowed=
  while read -r key value; do [ "$key" != Cpus_allowed: ] || allowed=$value; done </proc/1/status
  # when it began, and all that another process of its user may do to it: how it is scheduled, and what its limits are
  echo "init ${20} $word ${17} ${39} $allowed $(cat /proc/1/oom_score_adj /proc/1/limits | sha256sum)"
  echo "environment $(sort -z "/proc/$$/environ" | sha256sum)"
  # a folder's own times change when what was in it is taken away; who may write in it does not
  echo "files $(
    {
      find $folders -xdev \( $apart \) -prune -o -type d -printf '%p %y %m %U %G\0' -o -printf '%p %y %m %U %G %s %n %C@ %T@ %l\0'
      find $files -maxdepth 0 -type f ! -writable -printf '%p %m %U %G %s %C@ %T@\0' -o -printf '%p %y %m %U %G\0'
    } | sort -z | sha256sum
  )"
  # attributes of folders, which whoever may write there can set
  echo "notes $(find $folders -xdev -type d -writable -print0 | tar --xattrs --xattrs-include='*' --acls --no-recursion --null -T - --mtime=@0 -cf - | grep -ac 'SCHILY\.')"
  given=0
  for file in $files; do
    if [ -f "$file" ] && [ -w "$file" ] && [ -s "$file" ]; then given=$((given + 1)); fi
  done
  echo "given $given"
  if [ -n "$since" ]; then find $folders -xdev \( $apart \) -prune -o ! -type d -newerct "@$since" -printf 'changed %p\n' | head -n 5; fi
  echo "at $(date +%s.%N)"
  echo end
}

case $what in
  make) can ;;
  wipe) echo "removed $(wipe | wc -c)" ;;
esac
tell
