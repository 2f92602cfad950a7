#!/usr/bin/env bash
# A client of `rdev serve` with curl and jq.
#
# Usage:        rdev-http.sh METHOD PATH [JSON]        one request; prints what is under `data`. What takes long is waited for.
#               rdev-http.sh run PROJECT LINE          a line of shell in the project's pod: its output here, its exit code
#               rdev-http.sh follow STREAM_URL         a stream's events, a JSON document a line: {"event", "id", "data"}
# Environment:  RDEV_URL (http://127.0.0.1:8080), RDEV_API_KEY. RDEV_IDEMPOTENCY_KEY makes the same POST again the same call; without it
#               each start of this script is a call of its own, whose repeats after a break are none. RDEV_PATIENCE: for how many
#               seconds a server that does not answer is asked again (60).
# Exit codes:   rdev's own: 2 usage, 3 not there, 4 denied, 5 conflict, 6 unavailable, 124 time limit; of `run` the command's, 74 if nobody knows it.
set -euo pipefail

url=${RDEV_URL:-http://127.0.0.1:8080}
patience=${RDEV_PATIENCE:-60}
key=${RDEV_IDEMPOTENCY_KEY:-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

ask() { # curl with the key, which is nobody's to see in a list of processes
  curl --silent --noproxy '*' --connect-timeout 5 --config <(printf 'header = "X-API-Key: %s"\n' "${RDEV_API_KEY:-}") "$@"
}

refused() { # STATUS: say what the server said, end as rdev does
  jq -r '"error: \(.error.message) (\(.error.code))\nhint:  \(.error.hint)"' "$work/answer" >&2 2>/dev/null ||
    echo "error: $url answered with status $1, and no document of rdev's" >&2
  case $1 in 400 | 422) exit 2 ;; 401 | 403) exit 4 ;; 404) exit 3 ;; 409) exit 5 ;; 429 | 503) exit 6 ;; 502) exit 74 ;; 504) exit 124 ;; *) exit 1 ;; esac
}

request() { # METHOD PATH [JSON]: the data
  local end=$((SECONDS + patience)) status words=(--max-time 30 --request "$1" --output "$work/answer" --write-out '%{http_code}')
  [ "$1" != POST ] || words+=(--header "Idempotency-Key: $key")
  [ $# -lt 3 ] || words+=(--header 'Content-Type: application/json' --data-binary @-)
  while :; do
    status=$(printf '%s' "${3-}" | ask "${words[@]}" "$url$2") || status=000
    case $status in
      2??) jq -ce .data "$work/answer" && return; refused "$status" ;;
      000 | 429 | 502 | 503 | 504)
        # what rdev itself says of something that is not there will not change by asking again
        if ((SECONDS >= end)) || { [ "$status" = 503 ] && jq -e .error.code "$work/answer" >/dev/null 2>&1; }; then
          [ "$status" != 000 ] || { printf 'error: %s does not answer\nhint:  RDEV_URL says where the server is\n' "$url" >&2; exit 6; }
          refused "$status"
        fi
        sleep 0.5 ;;
      *) refused "$status" ;;
    esac
  done
}

follow() { # STREAM_URL: its events to the end; a connection that breaks is made again from the last id
  local last='' event='' id='' data='' line words end=$((SECONDS + patience))
  while ((SECONDS < end)); do
    words=(--no-buffer --fail)
    [ -z "$last" ] || words+=(--header "Last-Event-ID: $last")
    while IFS= read -r line; do
      case $line in
        'event: '*) event=${line#event: } ;;
        'id: '*) id=${line#id: } ;;
        'data: '*) data=${line#data: } ;;
        '')
          end=$((SECONDS + patience))
          last=${id:-$last}
          case $event:$data in
            : | :*) ;;
            end:* | error:*SHUTTING_DOWN*) break ;; # this server stops, and the next one goes on
            *) printf '{"event":"%s","id":"%s","data":%s}\n' "$event" "$id" "${data:-null}" ;;
          esac
          case $event in complete | error) return ;; esac
          event='' id='' data='' ;;
      esac
    done < <(ask "${words[@]}" "$url$1" || true)
    event='' id='' data=''
    sleep 0.5
  done
  printf 'error: %s is not there\nhint:  RDEV_URL says where the server is\n' "$url$1" >&2
  exit 6
}

finish() { # what was answered with 202 is waited for, everything else is an answer
  local job=$1 stream id
  stream=$(jq -r '.stream_url? // ""' <<<"$job" 2>/dev/null || true)
  if [ -z "$stream" ]; then
    printf '%s\n' "$job"
    return
  fi
  follow "$stream" >/dev/null
  id=$(jq -r .id <<<"$job")
  case $id in
    cmd_*) request GET "/commands/$id" ;;
    *)
      job=$(request GET "/operations/$id")
      if [ "$(jq -r .state <<<"$job")" = failed ]; then
        printf '%s' "$job" >"$work/answer"
        refused 500
      fi
      jq -c .answer <<<"$job" ;;
  esac
}

run() { # PROJECT LINE
  local command out
  command=$(request POST "/projects/$1/shell" "$(jq -cn --arg line "$2" '{command: $line}')")
  follow "$(jq -r .stream_url <<<"$command")" | while IFS= read -r out; do
    [ "$(jq -r .event <<<"$out")" = output ] || continue
    if [ "$(jq -r .data.stream <<<"$out")" = stderr ]; then exec 3>&2; else exec 3>&1; fi
    jq -j '.data | if has("data_b64") then .data_b64 | @base64d else .data end' <<<"$out" >&3
  done
  command=$(request GET "/commands/$(jq -r .id <<<"$command")")
  if [ "$(jq -r '"\(.state) \(.exit_code)"' <<<"$command")" = "failed null" ]; then # it was never started, and the job says why
    request GET "/operations/$(jq -r .id <<<"$command")" >"$work/job"
    mv "$work/job" "$work/answer"
    refused 500
  fi
  exit "$(jq -r '.exit_code // 74' <<<"$command")"
}

case ${1-} in
  run) [ $# = 3 ] || exit 2; run "$2" "$3" ;;
  follow) [ $# = 2 ] || exit 2; follow "$2" ;;
  [A-Z]*) [ $# -ge 2 ] || exit 2; job=$(request "$@"); finish "$job" ;;
  *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
