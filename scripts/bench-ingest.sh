#!/usr/bin/env bash
# Measures ingest from files beside datatrove with the same kinds of filters, by turns, and its growth; prints a JSON line for each run.
#
#   scripts/bench-ingest.sh [--rounds 2] [--documents 10000] [--growth "10000 100000 1000000"] [--from FILE.jsonl]
#
# The documents are chains of sentences drawn from FILE (default: the training data of examples/verwaltungsrecht), with copies, near-copies and bad ones
# among them (tests/ingest/make_corpus.py). Both use two cores at most. --growth "" measures none. A million documents take 2 GB on the disk, twice.
# CLARA=PROGRAM measures that one instead of a release build, which takes half an hour on two cores.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
fail() { echo "bench-ingest: $*" >&2; exit 1; }

rounds=2
documents=10000
growth="10000 100000 1000000"
from="examples/verwaltungsrecht/training.jsonl"
while (($#)); do
  [[ $# -gt 1 ]] || fail "$1 needs a value; see the head of scripts/bench-ingest.sh"
  case "$1" in
    --rounds) rounds="$2" ;;
    --documents) documents="$2" ;;
    --growth) growth="$2" ;;
    --from) from="$2" ;;
    *) fail "unknown argument '$1'; see the head of scripts/bench-ingest.sh" ;;
  esac
  shift 2
done
[[ -f "$from" ]] || fail "--from names $from, which does not exist"

scripts/python-env.sh ingest
clara="${CLARA:-}"
if [[ -z "$clara" ]]; then
  cargo build --quiet --release -p clara --bin clara
  clara="${CARGO_TARGET_DIR:-target}/release/clara"
fi
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

corpus() { .venv/bin/python tests/ingest/make_corpus.py --documents "$1" --from "$from" --out "$work/corpus.jsonl"; }
run_clara() { .venv/bin/python tests/ingest/bench_clara.py --clara "$clara" --corpus "$work/corpus.jsonl" --work "$work"; }

corpus "$documents"
for ((round = 0; round < rounds; round++)); do
  run_clara
  .venv/bin/python tests/ingest/bench_datatrove.py --corpus "$work/corpus.jsonl" --work "$work" 2>"$work/log" \
    || { tail -n 20 "$work/log" >&2; fail "datatrove failed"; }
  rm -rf "$work/datatrove"
done
for size in $growth; do
  corpus "$size"
  run_clara
done
