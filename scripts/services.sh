#!/usr/bin/env bash
# A private RabbitMQ and Redis on loopback, one pair for each folder; the distribution's services are not used.
#
#   scripts/services.sh start  FOLDER                  start what does not run, then print the URLs
#   scripts/services.sh stop   FOLDER                  end both cleanly; data and ports are kept
#   scripts/services.sh status FOLDER                  print the URLs; fails unless both answer
#   scripts/services.sh kill   FOLDER rabbitmq|redis   a crash; `start` brings the server back at its port
#   scripts/services.sh ctl    FOLDER ARGUMENTS        rabbitmqctl for its RabbitMQ
#   scripts/services.sh wipe   FOLDER                  end both and remove the folder
#
# Settings, read at the start: SERVICES_ONLY=rabbitmq|redis starts one of the two; SERVICES_PLUGINS names plugins of
# RabbitMQ (default: none); SERVICES_TLS names a folder with authority.pem, certificate.pem and key.pem, with which
# RabbitMQ listens for amqps:// too and asks for a certificate of its clients; SERVICES_FSYNC=always|everysec (default
# everysec) and SERVICES_REDIS_PASSWORD are Redis's.
set -euo pipefail
umask 077
export LC_ALL=C.UTF-8

fail() { echo "services: $*" >&2; exit 1; }
[[ $# -ge 2 ]] || { sed -n '2,14p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
verb="$1"
if [[ "$verb" == start ]]; then mkdir -p "$2"; fi
if [[ ! -d "$2" ]]; then [[ "$verb" == stop || "$verb" == wipe ]] && exit 0; fail "there is no folder $2"; fi
folder="$(cd "$2" && pwd -P)"
[[ "$folder" =~ ^[A-Za-z0-9_./+-]+$ ]] || fail "the folder's path may hold letters, digits and _ . / + - only: $folder"
only="${SERVICES_ONLY:-}"
bin=/usr/lib/rabbitmq/bin

exec 9>"$folder/.lock"
flock 9

# A block of ten ports for each folder, below those that the kernel hands out, claimed by a link to the folder.
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
claims="/tmp/clara-services-$(id -u)"
claim_ports() {
  [[ -f "$folder/port" ]] && { base="$(<"$folder/port")"; return; }
  mkdir -p "$claims"
  local offset owner
  for ((offset = RANDOM % 1000; ; offset = (offset + 1) % 1000)); do
    base=$((20000 + offset * 10))
    owner="$(readlink "$claims/$base" || true)"
    # A claim whose folder is gone is void.
    if [[ -n "$owner" && ! -f "$owner/port" ]]; then rm -f "$claims/$base"; fi
    ln -sT "$folder" "$claims/$base" 2>/dev/null || continue
    local port taken=
    for port in 0 1 2 3 9; do answers $((base + port)) && taken=yes; done
    if [[ -n "$taken" ]]; then rm -f "$claims/$base"; continue; fi
    echo "$base" >"$folder/port"
    return
  done
}

# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/processes.sh"

redis_answers() {
  [[ "$(redis-cli -p "$redis_port" ${SERVICES_REDIS_PASSWORD:+-a "$SERVICES_REDIS_PASSWORD" --no-auth-warning} ping 2>/dev/null)" == PONG ]]
}
# The listeners open last: a broker that answers AMQP's greeting has started.
rabbitmq_answers() {
  local first=
  { exec 7<>"/dev/tcp/127.0.0.1/$amqp_port"; } 2>/dev/null || return 1
  printf 'AMQP\0\0\011\001' >&7 2>/dev/null || true
  IFS= read -r -t 2 -n 1 first <&7 || true
  exec 7>&-
  [[ "$first" == $'\001' ]]
}

start_redis() {
  pid_of redis >/dev/null && return
  command -v redis-server >/dev/null || fail "redis-server is missing; run scripts/setup.sh services"
  mkdir -p "$folder/redis"
  setsid redis-server --bind 127.0.0.1 --port "$redis_port" --dir "$folder/redis" --save "" --appendonly yes \
    --appendfsync "${SERVICES_FSYNC:-everysec}" ${SERVICES_REDIS_PASSWORD:+--requirepass "$SERVICES_REDIS_PASSWORD"} \
    </dev/null >>"$folder/redis/log" 2>&1 9>&- &
  remember $! redis
}

start_rabbitmq() {
  pid_of rabbitmq >/dev/null && return
  [[ -x "$bin/rabbitmq-server" ]] || fail "rabbitmq-server is missing; run scripts/setup.sh services"
  local at="$folder/rabbitmq"
  mkdir -p "$at/mnesia" "$at/log" "$HOME"
  [[ -f "$HOME/.erlang.cookie" ]] || {
    head -c 20 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$HOME/.erlang.cookie"
    chmod 400 "$HOME/.erlang.cookie"
  }
  echo "[${SERVICES_PLUGINS:-}]." >"$at/plugins"
  : >"$at/environment"
  {
    echo "listeners.tcp.1 = 127.0.0.1:$amqp_port"
    echo "log.console = false"
    # The default, 40 % of all memory, is too much beside others; the log of the queues is kept in memory too.
    echo "vm_memory_high_watermark.absolute = 2GB"
    echo "disk_free_limit.absolute = 200MB"
    echo "raft.wal_max_size_bytes = 64000000"
    if [[ -n "${SERVICES_TLS:-}" ]]; then
      echo "listeners.ssl.1 = 127.0.0.1:$amqps_port"
      echo "ssl_options.cacertfile = $SERVICES_TLS/authority.pem"
      echo "ssl_options.certfile = $SERVICES_TLS/certificate.pem"
      echo "ssl_options.keyfile = $SERVICES_TLS/key.pem"
      echo "ssl_options.verify = verify_peer"
      echo "ssl_options.fail_if_no_peer_cert = true"
    fi
  } >"$at/rabbitmq.conf"
  # Its own port mapper, so that none is left behind and none listens beyond loopback.
  pid_of epmd >/dev/null || {
    setsid epmd -port "$epmd_port" -address 127.0.0.1 </dev/null >>"$at/log/epmd" 2>&1 9>&- &
    remember $! epmd
    local until=$((SECONDS + 30))
    until answers "$epmd_port"; do
      ((SECONDS <= until)) || fail "RabbitMQ's port mapper does not answer at port $epmd_port; see $at/log/epmd"
      sleep 0.05
    done
  }
  # With RABBITMQ_ALLOW_INPUT the script becomes the server, so its process is the one to remember.
  RABBITMQ_CONFIG_FILE="$at/rabbitmq.conf" RABBITMQ_ENABLED_PLUGINS_FILE="$at/plugins" \
    RABBITMQ_MNESIA_BASE="$at/mnesia" RABBITMQ_LOG_BASE="$at/log" RABBITMQ_LOGS="$at/log/rabbitmq.log" \
    RABBITMQ_DIST_PORT="$dist_port" RABBITMQ_GENERATED_CONFIG_DIR="$at/generated" RABBITMQ_PID_FILE="$at/pid" \
    RABBITMQ_ADVANCED_CONFIG_FILE="$at/advanced.config" RABBITMQ_ALLOW_INPUT=1 ERL_CRASH_DUMP="$at/log/crash" \
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}" \
    setsid "$bin/rabbitmq-server" -noinput </dev/null >"$at/log/start" 2>&1 9>&- &
  remember $! rabbitmq
}

wait_for() { # wait_for NAME LOG
  local until=$((SECONDS + 90))
  until "$1_answers"; do
    if ! pid_of "$1" >/dev/null; then tail -n 20 "$2" >&2; fail "$1 ended while it started; see $2"; fi
    if ((SECONDS > until)); then tail -n 20 "$2" >&2; fail "$1 did not answer within 90 s; see $2"; fi
    sleep 0.05
  done
}

print_urls() {
  [[ "$only" == redis ]] || echo "AMQP_URL=amqp://guest:guest@127.0.0.1:$amqp_port/%2f"
  [[ "$only" == redis || -z "${SERVICES_TLS:-}" ]] || echo "AMQPS_URL=amqps://guest:guest@localhost:$amqps_port/%2f"
  [[ "$only" == rabbitmq ]] \
    || echo "REDIS_URL=redis://${SERVICES_REDIS_PASSWORD:+:$SERVICES_REDIS_PASSWORD@}127.0.0.1:$redis_port/0"
  local name
  for name in rabbitmq redis; do echo "${name^^}_PID=$(pid_of "$name" || echo none)"; done
}

if [[ "$verb" == start ]]; then claim_ports; else base="$(cat "$folder/port" 2>/dev/null || echo 0)"; fi
amqp_port=$base redis_port=$((base + 1)) dist_port=$((base + 2)) epmd_port=$((base + 3)) amqps_port=$((base + 9))
export HOME="$folder/home" ERL_EPMD_PORT=$epmd_port ERL_EPMD_ADDRESS=127.0.0.1
export RABBITMQ_NODENAME="clara$amqp_port@localhost" RABBITMQ_CONF_ENV_FILE="$folder/rabbitmq/environment"

case "$verb" in
  start)
    [[ "$only" == rabbitmq ]] || start_redis
    [[ "$only" == redis ]] || start_rabbitmq
    [[ "$only" == rabbitmq ]] || wait_for redis "$folder/redis/log"
    [[ "$only" == redis ]] || wait_for rabbitmq "$folder/rabbitmq/log/start"
    print_urls
    ;;
  status)
    print_urls
    [[ "$only" == redis ]] || rabbitmq_answers || exit 3
    [[ "$only" == rabbitmq ]] || redis_answers || exit 3
    ;;
  stop)
    finish redis TERM 10
    finish rabbitmq TERM 20
    finish epmd TERM 2
    ;;
  kill)
    [[ "${3:-}" == rabbitmq || "${3:-}" == redis ]] || fail "kill what? rabbitmq or redis"
    pid_of "$3" >/dev/null || fail "$3 does not run"
    finish "$3" KILL 10
    ;;
  ctl)
    pid_of rabbitmq >/dev/null || fail "rabbitmq does not run"
    exec "$bin/rabbitmqctl" -q -n "$RABBITMQ_NODENAME" "${@:3}" 9>&-
    ;;
  wipe)
    for name in redis rabbitmq epmd; do finish "$name" KILL 10; done
    [[ -f "$folder/port" ]] || fail "$folder was never started here, so it is not removed"
    rm -f "$claims/$base"
    rm -rf -- "$folder"
    ;;
  *) fail "unknown verb '$verb'; expected start, stop, status, kill, ctl or wipe" ;;
esac
