#!/usr/bin/env bash
# Times training beside PyTorch + PEFT on this machine, by turns on the same rows, and prints a table.
#
#   scripts/bench-train.sh [--rounds 3] [--steps 6] [--threads 2] [--micro-batch 1]
#
# GPU_WORKER names a binary of your own, e.g. of a release build; otherwise the one that `clara` is built with is made.
# Nothing else should run meanwhile: the table says how many cores other work took.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"

scripts/python-env.sh peft
base="$(scripts/fetch-model.sh)"
if [[ -z "${GPU_WORKER:-}" ]]; then
  cargo build --quiet -p clara-gpu-worker --bin gpu-worker
  GPU_WORKER="${CARGO_TARGET_DIR:-target}/debug/gpu-worker"
fi
exec .venv/bin/python tests/peft/compare_speed.py --base "$base" --gpu-worker "$GPU_WORKER" \
  --data examples/verwaltungsrecht/training.jsonl "$@"
