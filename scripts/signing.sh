#!/usr/bin/env bash
# Proves that the program model_signing (PyPI) and clara verify each other's signatures (`make signing`).
#
# 1. Clara signs files with a new P-256 key; model_signing must accept them, and refuse them once one was changed.
# 2. model_signing signs the same files; clara must accept that signature.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
scripts/python-env.sh signing
export MODEL_SIGNING="$root/.venv/bin/model_signing"

cargo nextest run -p clara-coordinator --run-ignored only -E 'test(/live_model_signing/)' --no-capture
