#!/usr/bin/env bash
# Installs what a fresh Debian machine with Rust and Python lacks to build and test Clara; quick when all is there.
#
#   scripts/setup.sh          what `make demo` needs: C compiler, make, pip, venv
#   scripts/setup.sh services that, and RabbitMQ and Redis for `make services`
#   scripts/setup.sh test     all of that, and PostgreSQL, Prometheus, Chromium, faketime and cargo-nextest for `make test`
set -euo pipefail

fail() { echo "setup: $*" >&2; exit 1; }

case "${1:-}" in
  "" | services | test) ;;
  *) fail "unknown argument '$1'; expected none, services or test" ;;
esac

missing=()
need() { # need PACKAGE COMMAND…: wants PACKAGE when COMMAND fails
  local package="$1"
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}
need build-essential sh -c 'command -v cc && command -v c++ && command -v make'
need pkg-config command -v pkg-config
need python3 command -v python3
need python3-pip python3 -m pip --version
need python3-venv python3 -c 'import ensurepip, venv'
if [[ -n "${1:-}" ]]; then
  need redis-server command -v redis-server
  need rabbitmq-server test -x /usr/lib/rabbitmq/bin/rabbitmq-server
fi
if [[ "${1:-}" == test ]]; then
  need postgresql sh -c 'ls /usr/lib/postgresql/*/bin/initdb'
  need prometheus sh -c 'command -v prometheus && command -v promtool'
  need chromium command -v chromium
  need chromium-driver command -v chromedriver
  need faketime sh -c 'ls /usr/lib/*/faketime/libfaketimeMT.so.1'
fi

if ((${#missing[@]} > 0)); then
  command -v apt-get >/dev/null \
    || fail "missing: ${missing[*]} (names of Debian packages), and there is no apt-get; install them by hand"
  privileged=()
  if [[ "$(id -u)" != 0 ]]; then
    command -v sudo >/dev/null || fail "missing: ${missing[*]}; run this as root, or install sudo"
    privileged=(sudo)
  fi
  echo "setup: installing ${missing[*]}" >&2
  # A fresh machine has no package lists, and old lists name files that are gone.
  "${privileged[@]}" apt-get update -qq || fail "apt-get update failed; check the network"
  # Private servers are started by hand; the packages must not start any of their own. An existing policy stays.
  policy=/usr/sbin/policy-rc.d
  made_policy=
  if [[ ! -e "$policy" ]]; then
    printf '#!/bin/sh\nexit 101\n' | "${privileged[@]}" tee "$policy" >/dev/null
    "${privileged[@]}" chmod +x "$policy"
    made_policy=yes
  fi
  installed=yes
  "${privileged[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 || installed=
  [[ -z "$made_policy" ]] || "${privileged[@]}" rm -f "$policy"
  [[ -n "$installed" ]] || fail "apt-get could not install ${missing[*]}"
fi

command -v cargo >/dev/null || fail "no cargo found; install Rust 1.95 or newer and put ~/.cargo/bin into PATH"

if [[ "${1:-}" == test ]] && ! cargo nextest --version >/dev/null 2>&1; then
  echo "setup: installing cargo-nextest (a few minutes, once)" >&2
  cargo install --locked cargo-nextest >&2 || fail "cannot install cargo-nextest; see the lines above"
fi
