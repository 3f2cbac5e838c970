#!/usr/bin/env bash
# Reads documents from a real Chroma server (PyPI `chromadb`) and from a real PostgreSQL, page by page and through the whole program (`make uds3`).
# CLARA_DOCUMENTS names a JSONL file with `id` and `text` to fill them with (default: the documents of the example).
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
scripts/setup.sh test
scripts/python-env.sh uds3

folder="$(mktemp -d)"
server=
finish() {
  [[ -z "$server" ]] || { kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; }
  rm -rf "$folder"
}
trap finish EXIT

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
port=$((20000 + RANDOM % 10000))
while answers "$port"; do port=$((20000 + RANDOM % 10000)); done
ANONYMIZED_TELEMETRY=False "$root/.venv/bin/chroma" run --path "$folder/data" --host 127.0.0.1 --port "$port" >"$folder/log" 2>&1 &
server=$!
until answers "$port"; do
  if ! kill -0 "$server" 2>/dev/null || ((SECONDS > 120)); then
    tail -n 20 "$folder/log" >&2
    echo "uds3: Chroma did not start; see the lines above" >&2
    exit 1
  fi
  sleep 0.1
done
export CHROMA_URL="http://127.0.0.1:$port"

cargo build --workspace --bins --tests
cargo nextest run --workspace --run-ignored all \
  -E 'package(clara-ingest-worker) & test(/^fetch::(chroma|postgres)::/) | binary(sources) & test(/^uds3::/)'
