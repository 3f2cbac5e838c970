#!/usr/bin/env bash
# Clara as a cluster on this machine: a private RabbitMQ and Redis, and each daemon as a process of its own.
#
#   scripts/cluster.sh start [FOLDER]             start what does not run, wait until all are ready, print where they are
#   scripts/cluster.sh demo  [FOLDER] [FLAGS]     run the main job of `make demo` through them; FLAGS go to `clara run`
#   scripts/cluster.sh status [FOLDER]            print what runs; fails unless all are ready
#   scripts/cluster.sh stop  [FOLDER]             let the daemons drain and end, then the servers; data is kept
#   scripts/cluster.sh wipe  [FOLDER]             stop, then remove the folder
#
# FOLDER (default: target/cluster) holds the data and a log of each daemon. There are two coordinators, an
# ingest-worker, two gpu-workers, a judge-worker, and the base model served as the judge of jobs that name none.
set -euo pipefail
umask 077

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
fail() { echo "cluster: $*" >&2; exit 1; }
verb="${1:-}"
[[ -n "$verb" ]] || { sed -n '2,11p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
shift
folder="$root/target/cluster"
if [[ $# -gt 0 && "$1" != -* ]]; then folder="$1"; shift; fi
case "$verb" in
  start) mkdir -p "$folder" ;;
  stop | wipe) [[ -d "$folder" ]] || exit 0 ;;
  demo | status) [[ -d "$folder" ]] || fail "there is no folder $folder; begin with: scripts/cluster.sh start $folder" ;;
  *) fail "unknown verb '$verb'; expected start, demo, status, stop or wipe" ;;
esac
folder="$(cd "$folder" && pwd -P)"
servers="$folder/servers"
# shellcheck source-path=SCRIPTDIR
source "$root/scripts/processes.sh"

coordinators=(coordinator-1 coordinator-2)
workers=(ingest-worker gpu-worker-1 gpu-worker-2 judge-worker)

# The servers use at most five ports of their block of ten.
ports() {
  local base
  base="$(<"$servers/port")"
  grpc_1=$((base + 4)) http_1=$((base + 5)) grpc_2=$((base + 6)) http_2=$((base + 7)) judge=$((base + 8))
  url="http://127.0.0.1:$grpc_1"
}

launch() { # launch NAME COMMAND…
  local name="$1"
  shift
  pid_of "$name" >/dev/null && return
  [[ -x "$1" ]] || fail "$1 is missing; run: make build"
  echo "--- $*" >>"$folder/$name.log"
  setsid "$@" </dev/null >>"$folder/$name.log" 2>&1 &
  remember $! "$name"
}

# Where a daemon answers: the address that it logged when it started last.
page_of() {
  sed -n 's,\x1b\[[0-9;]*m,,g; s,.*answers /livez.* at \(http://[0-9.:]*\)$,\1,p' "$folder/$1.log" 2>/dev/null | tail -n 1
}
ready() {
  local page
  page="$(page_of "$1")" && [[ -n "$page" ]] && curl --silent --fail --max-time 2 --output /dev/null "$page/readyz"
}
await() {
  local until=$((SECONDS + 90))
  until "${@:2}"; do
    if ! pid_of "$1" >/dev/null; then tail -n 5 "$folder/$1.log" >&2; fail "$1 ended while it started; see $folder/$1.log"; fi
    if ((SECONDS > until)); then tail -n 5 "$folder/$1.log" >&2; fail "$1 was not ready within 90 s; see $folder/$1.log"; fi
    sleep 0.1
  done
}

start() {
  local model said
  model="$("$root/scripts/fetch-model.sh")"
  said="$("$root/scripts/services.sh" start "$servers")"
  ports
  local bin="$root/target/debug"
  export CLARA_HOME="$folder/home"
  CLARA_BROKER__URL="$(sed -n 's/^AMQP_URL=//p' <<<"$said")"
  CLARA_STATE__URL="$(sed -n 's/^REDIS_URL=//p' <<<"$said")"
  export CLARA_BROKER__URL CLARA_STATE__URL CLARA_JUDGE__URL="http://127.0.0.1:$judge/v1"
  mkdir -p "$CLARA_HOME"
  launch judge-model "$bin/gpu-worker" serve --base "$model" --listen "127.0.0.1:$judge"
  launch coordinator-1 "$bin/coordinator" --listen "127.0.0.1:$grpc_1" --http "127.0.0.1:$http_1"
  launch coordinator-2 "$bin/coordinator" --listen "127.0.0.1:$grpc_2" --http "127.0.0.1:$http_2"
  local url_1="http://127.0.0.1:$grpc_1" url_2="http://127.0.0.1:$grpc_2"
  launch ingest-worker "$bin/ingest-worker" --coordinator "$url_1"
  launch gpu-worker-1 "$bin/gpu-worker" run --coordinator "$url_1"
  launch gpu-worker-2 "$bin/gpu-worker" run --coordinator "$url_2"
  launch judge-worker "$bin/judge-worker" --coordinator "$url_2"
  await judge-model curl --silent --fail --max-time 2 --output /dev/null "http://127.0.0.1:$judge/v1/models"
  local name
  for name in "${coordinators[@]}" "${workers[@]}"; do await "$name" ready "$name"; done
}

show() {
  local name pid missing=0
  for name in judge-model "${coordinators[@]}" "${workers[@]}"; do
    if ! pid="$(pid_of "$name")"; then
      printf '%-14s ended; see %s\n' "$name" "$folder/$name.log"
      missing=1
    elif [[ "$name" == judge-model ]]; then
      printf '%-14s pid %-8s http://127.0.0.1:%s/v1\n' "$name" "$pid" "$judge"
    else
      printf '%-14s pid %-8s health and metrics at %s' "$name" "$pid" "$(page_of "$name")"
      if ready "$name"; then echo; else echo ' (not ready)'; missing=1; fi
    fi
  done
  return "$missing"
}

stop() {
  local name
  # All are told at once; each then has its time to drain.
  for name in "${workers[@]}"; do if pid="$(pid_of "$name")"; then kill -TERM "$pid"; fi; done
  for name in "${workers[@]}" "${coordinators[@]}" judge-model; do finish "$name" TERM 40; done
  "$root/scripts/services.sh" stop "$servers"
}

case "$verb" in
  start)
    start
    show
    echo
    echo "Submit to them: target/debug/clara --home $folder/home --coordinator $url run ..."
    echo "The main job:   scripts/cluster.sh demo $folder"
    echo "End them:       scripts/cluster.sh stop $folder"
    ;;
  status)
    ports
    show
    ;;
  demo)
    ports
    CLARA_HOME="$folder/home" "$root/scripts/demo.sh" --coordinator "$url" "$@"
    ;;
  stop) stop ;;
  wipe)
    stop
    "$root/scripts/services.sh" wipe "$servers"
    rm -rf -- "$folder"
    ;;
esac
