# The last step before a command, inside its sandbox or pod: takes the environment from stdin, then becomes the command.
# sh -c THIS rdev NONCE INPUT ID ARGV...     stdin: a line, the commit's message; lines of sh that export variables, up to NONCE;
#   after it the command's own. A message that is not empty: after exit 0 the work tree is committed under it, by a fixed argv and
#   without the command's variables. None of this is on an argv, where every user of the machine could read it.
nonce=$1 input=$2 id=$3
shift 3
umask 022 # the runner is private, the work is not
IFS= read -r message
head=
while IFS= read -r line && [ "$line" != "$nonce" ]; do
  head="$head$line
"
done
[ "$line" = "$nonce" ] || exit 125 # cut off: half an environment is none
unset line nonce
[ "$input" = 1 ] || exec </dev/null
become() { # HEAD ARGV...: the names of this script are gone before the command's own are there, which may be the same
  unset head input message id
  eval "$1"
  shift
  exec "$@"
}
echo . >&8
exec 8>&-
if [ -z "$message" ]; then
  become "$head" "$@"
fi
(
  become "$head" "$@"
) || exit
head=
GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0
GIT_AUTHOR_NAME=rdev GIT_AUTHOR_EMAIL=rdev@localhost GIT_COMMITTER_NAME=rdev GIT_COMMITTER_EMAIL=rdev@localhost
export GIT_CONFIG_NOSYSTEM GIT_CONFIG_GLOBAL GIT_TERMINAL_PROMPT
export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL
git_() {
  git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c commit.gpgSign=false -c core.safecrlf=false -c gc.auto=0 "$@"
}
git_ add --all --end-of-options . && {
  git_ diff --cached --quiet ||
    printf '%s\n\nRdev-Command: %s\n' "$message" "$id" | git_ commit --quiet --no-verify --cleanup=whitespace --file=-
} >/dev/null || {
  echo 'rdev: the work was done, but git could not commit it; it is still in the work tree' >&2
  exit 79
}
