#!/usr/bin/env bash
# A private PostgreSQL on loopback, one for each folder; the distribution's service is not used.
#
#   scripts/postgres.sh start FOLDER   make it, start it, print PORT=…; its certificates stand in FOLDER/tls
#   scripts/postgres.sh kill  FOLDER   a crash; `start` brings it back at its port
#   scripts/postgres.sh wipe  FOLDER   end it and remove the folder
#
# Its superuser is `owner` with the password `owner`; the user `certified` must show FOLDER/tls/client.pem. It speaks plain and TLS.
set -euo pipefail
export LC_ALL=C.UTF-8

fail() { echo "postgres: $*" >&2; exit 1; }
[[ $# == 2 ]] || { sed -n '2,9p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
verb="$1"
if [[ "$verb" == start ]]; then mkdir -p "$2"; fi
if [[ ! -d "$2" ]]; then [[ "$verb" == wipe ]] && exit 0; fail "there is no folder $2"; fi
folder="$(cd "$2" && pwd -P)"
bin="$(find /usr/lib/postgresql -path '*/bin/initdb' -printf '%h\n' 2>/dev/null | sort -V | tail -n 1)"
[[ -n "$bin" ]] || fail "PostgreSQL is missing; run scripts/setup.sh test"

# It refuses to run as root.
as=()
if [[ "$(id -u)" == 0 ]]; then
  as=(setpriv --reuid=postgres --regid=postgres --init-groups)
  chmod 711 "$folder"
fi

certificate() { # certificate NAME SUBJECT: signed by the authority
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$2" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA authority.pem -CAkey authority.key -CAcreateserial -days 30 -out "$1.pem" \
    -extfile <(echo "subjectAltName=DNS:$2") 2>/dev/null
}

make_certificates() {
  mkdir -p "$folder/tls"
  cd "$folder/tls"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout authority.key -out authority.pem \
    -days 30 -subj "/CN=authority of a test" 2>/dev/null
  certificate server localhost
  certificate client certified
  cd - >/dev/null
}

make() {
  make_certificates
  mkdir -p "$folder/data" "$folder/socket"
  [[ ${#as[@]} == 0 ]] || chown postgres: "$folder/data" "$folder/socket"
  "${as[@]}" "$bin/initdb" -D "$folder/data" -U owner --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync >"$folder/log" 2>&1 \
    || { tail -n 20 "$folder/log" >&2; fail "initdb failed"; }
  install -m 600 "$folder/tls/server.pem" "$folder/data/server.crt"
  install -m 600 "$folder/tls/server.key" "$folder/data/server.key"
  install -m 600 "$folder/tls/authority.pem" "$folder/data/root.crt"
  cat >"$folder/data/pg_hba.conf" <<'HBA'
local   all certified             reject
local   all all                   trust
hostssl all certified 127.0.0.1/32 cert
host    all certified 127.0.0.1/32 reject
host    all all       127.0.0.1/32 scram-sha-256
HBA
  cat >>"$folder/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$folder/socket'
ssl = on
ssl_ca_file = 'root.crt'
fsync = off
shared_buffers = 32MB
max_connections = 30
CONF
  [[ ${#as[@]} == 0 ]] || chown -R postgres: "$folder/data"
}

free_port() {
  local port
  while true; do
    port=$((20000 + RANDOM % 10000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

launch() { # launch PORT
  "${as[@]}" "$bin/pg_ctl" -D "$folder/data" -w -t 60 -l "$folder/data/log" -o "-p $1" start </dev/null >>"$folder/log" 2>&1
}

case "$verb" in
  start)
    [[ -d "$folder/data" ]] || make
    if "${as[@]}" "$bin/pg_ctl" -D "$folder/data" status >/dev/null 2>&1; then
      echo "PORT=$(<"$folder/port")"
      exit 0
    fi
    # Another process may take the port in between.
    for _ in 1 2 3 4 5; do
      [[ -f "$folder/port" ]] || free_port >"$folder/port"
      if launch "$(<"$folder/port")"; then
        "$bin/psql" -q -h "$folder/socket" -p "$(<"$folder/port")" -U owner -d postgres \
          -c "ALTER USER owner PASSWORD 'owner'" -c "DO 'BEGIN CREATE USER certified; EXCEPTION WHEN duplicate_object THEN NULL; END'"
        echo "PORT=$(<"$folder/port")"
        exit 0
      fi
      rm -f "$folder/port"
    done
    tail -n 20 "$folder/data/log" >&2
    fail "PostgreSQL did not start; see $folder/data/log"
    ;;
  kill)
    "${as[@]}" "$bin/pg_ctl" -D "$folder/data" -m immediate -w stop >/dev/null
    ;;
  wipe)
    "${as[@]}" "$bin/pg_ctl" -D "$folder/data" -m immediate -w stop >/dev/null 2>&1 || true
    rm -rf "$folder"
    ;;
  *) fail "unknown verb '$verb'; expected start, kill or wipe" ;;
esac
