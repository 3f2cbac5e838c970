#!/usr/bin/env bash
# Proves against PyTorch + PEFT that our training and our adapters are what PEFT understands by them (`make peft`).
#
#   scripts/peft.sh                trains a short adapter on the base model and checks that
#   scripts/peft.sh ADAPTER_DIR    checks an adapter made before, e.g. by `make demo`
#
# 1. The fixtures that `make test` compares with are made anew and must be the same.
# 2. The adapter is loaded by PEFT on the same base in f32; logits must agree within 1e-3 on 20 prompts.
# 3. The fixtures' adapters and this one are exported in every form; transformers, PEFT and the gguf package must read what
#    they should (tests/peft/check_export.py).
# GPU_WORKER names a binary of your own; otherwise the build that `make test` uses is made.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# A folder given is meant from where the caller stands.
adapter="${1:+$(realpath "$1")}"
cd "$root"

scripts/python-env.sh peft
base="$(scripts/fetch-model.sh)"
if [[ -z "${GPU_WORKER:-}" ]]; then
  cargo build --quiet -p clara-gpu-worker --bin gpu-worker
  GPU_WORKER="${CARGO_TARGET_DIR:-target}/debug/gpu-worker"
fi

.venv/bin/python tests/peft/check_fixture.py

if [[ -z "$adapter" ]]; then
  work="$(mktemp -d)"
  trap 'rm -rf "$work"' EXIT
  adapter="$work/out/adapter"
  # A high rate, so that twelve steps leave an adapter that visibly moves the logits.
  cat >"$work/train.toml" <<'TOML'
max_steps = 12
learning_rate = 1e-3
accumulation = 1
sequence_length = 256
warmup_ratio = 0.0
schedule = "constant"
validate_every = 0
checkpoint_every = 0
TOML
  "$GPU_WORKER" train --base "$base" --data examples/verwaltungsrecht/training.jsonl \
    --out "$work/out" --config "$work/train.toml" >/dev/null
fi
.venv/bin/python tests/peft/verify_adapter.py --base "$base" --adapter "$adapter" --gpu-worker "$GPU_WORKER"
.venv/bin/python tests/peft/check_export.py --gpu-worker "$GPU_WORKER"
.venv/bin/python tests/peft/check_export.py --gpu-worker "$GPU_WORKER" --base "$base" --adapter "$adapter"
