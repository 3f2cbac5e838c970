#!/usr/bin/env bash
# Times greedy generation beside transformers (f32) and llama.cpp (the same GGUF file) on this machine, by turns, and prints a table.
#
#   scripts/bench-generate.sh [--rounds 3] [--threads 2]
#
# llama.cpp is built once from its Python package into .venv-llama, which takes a quarter of an hour of one core.
# GENERATE_SPEED names a binary of your own, e.g. of a release build. Nothing else should run meanwhile: the table says how many cores other
# work took.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"

scripts/python-env.sh peft
base="$(scripts/fetch-model.sh)"
if ! .venv-llama/bin/python -c 'import llama_cpp' 2>/dev/null; then
  echo "bench-generate: building llama.cpp into .venv-llama" >&2
  "${PYTHON:-python3}" -m venv .venv-llama
  CMAKE_ARGS="-DGGML_NATIVE=on" .venv-llama/bin/pip install --quiet --no-binary llama-cpp-python llama-cpp-python==0.3.36
fi
if [[ -z "${GENERATE_SPEED:-}" ]]; then
  cargo build --quiet -p clara-gpu-worker --example generate_speed
  GENERATE_SPEED="${CARGO_TARGET_DIR:-target}/debug/examples/generate_speed"
fi
exec .venv/bin/python tests/peft/compare_generate.py --base "$base" --generate-speed "$GENERATE_SPEED" \
  --llama-python .venv-llama/bin/python "$@"
