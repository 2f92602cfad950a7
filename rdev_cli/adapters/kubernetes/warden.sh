# PID 1 of a worker. It is there before any session, and nothing that a session starts can look into it, write in its memory or on its stdout: it
# runs from a copy of the shell that its own user may not read, and what may not be read the kernel lets nobody trace. So what stands in the pod's log is
# its word. On USR1, from whomever, it kills everything in the pod, in one call that nothing can escape by forking, and says so:
#   rdev N PID    swept N times; PID is the one process that it keeps
trap 'exit 0' TERM INT
trap 'n=$((n + 1)); kill -KILL -1' USR1
n=0
rm -rf "$1"
while :; do
  sleep 86400 &
  kept=$!
  echo "rdev $n $kept"
  wait "$kept" # and takes in whatever else has died
done
