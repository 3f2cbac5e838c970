#!/usr/bin/env bash
# Times training, one linear layer and attention on this machine's GPU beside PyTorch + PEFT, by turns in one run, and prints tables.
#
#   scripts/bench-gpu.sh [--quick] [--rounds 1] [--out DIR] [--base MODEL.gguf --folder HF_FOLDER] [--tokens FILE.u32]
#                        [--only linear,attention,train,losses,growth,methods] [--models smollm2-135m,llama-3.1-8b,qwen2.5-7b]
#
# Builds and fetches nothing: our program must be target/release/examples/cuda_speed (CUDA_SPEED names another; if it is missing it is
# passed over), and PYTHON (default: python3) must have torch, transformers and peft.
# --quick measures less (no Qwen2.5-7B, one sequence of each model, no loss curve) and ends within 4 minutes. --base and --folder are
# the same SmolLM2-135M as GGUF file and as Hugging Face folder (tests/peft/gguf_to_hf.py); without them its weights are random.
# --tokens: what both train on (tests/peft/gpu_tokens.py). Results come one JSON line each into DIR/results.jsonl (default: bench-gpu), as
# they are made; what the programs say besides into DIR/log.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="${PYTHON:-python3}"
examples="${CARGO_TARGET_DIR:-$root/target}/release/examples"
# A whole path, since the programs run in another folder.
speed="$(realpath -m "${CUDA_SPEED:-$examples/cuda_speed}")"

fail() { echo "bench-gpu: $*" >&2; exit 1; }

quick=""
rounds=1
out="bench-gpu"
base=""
folder=""
tokens=()
only="linear,attention,train,losses,growth,methods"
models="smollm2-135m,llama-3.1-8b,qwen2.5-7b"
while (($#)); do
  case "$1" in
    --quick) quick=1; shift; continue ;;
    --rounds | --out | --base | --folder | --tokens | --only | --models) [[ $# -gt 1 ]] || fail "$1 needs a value" ;;
    *) fail "unknown argument '$1'; see the head of scripts/bench-gpu.sh" ;;
  esac
  case "$1" in
    --rounds) rounds="$2" ;;
    --out) out="$2" ;;
    --base) base="$(realpath "$2")" ;;
    --folder) folder="$(realpath "$2")" ;;
    --tokens)
      [[ -f "$2" ]] || fail "--tokens names $2, which does not exist"
      tokens=(--tokens "$(realpath "$2")")
      ;;
    --only) only="$2" ;;
    --models) models="$2" ;;
  esac
  shift 2
done
if [[ -n "$base" && -z "$folder" || -z "$base" && -n "$folder" ]]; then
  fail "--base and --folder belong together: the same model for each engine"
fi

mkdir -p "$out"
out="$(realpath "$out")"
results="$out/results.jsonl"
log="$out/log"
: >"$results"
: >"$log"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$root/tests/peft"

memory_mib="$(nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits 2>/dev/null | head -n 1 || true)"
device="$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1 || true)"
printf '{"what":"device","name":"%s","memory_mib":%s}\n' "$device" "${memory_mib:-0}" >>"$results"
# Largest first; the peer takes the first that fits.
large=(2 1)
if ((${memory_mib:-0} > 100000)); then large=(4 2 1); fi

wanted() { [[ ",$only," == *",$1,"* ]]; }
wanted_model() { [[ ",$models," == *",$1,"* ]]; }

# run SECONDS COMMAND...: adds the command's lines to the results. One that fails or takes too long does not end the others.
run() {
  local limit="$1" started="$SECONDS" status=0
  shift
  if ! command -v "$1" >/dev/null; then
    echo "bench-gpu: no $1, passed over" >&2
    return 0
  fi
  echo "+ $*" >>"$log"
  timeout --kill-after=5 "$limit" "$@" >>"$results" 2>>"$log" || status=$?
  echo "bench-gpu: $((SECONDS - started)) s, exit code $status: ${1##*/} ${*:2:5}" >&2
  if ((status)); then tail -n 5 "$log" >&2; fi
}

small_ours=(--model smollm2-135m)
small_peer=(--model smollm2-135m)
if [[ -n "$base" ]]; then
  small_ours+=(--base "$base")
  small_peer=(--model "$folder" --model-name smollm2-135m)
fi

# The limits of a round add up to 4 minutes.
measure_quick() {
  if wanted linear; then
    run 20 "$speed" linear --repeats 20
    run 55 "$python" gpu_linear.py --engines peft peft-compile
  fi
  if wanted attention; then
    run 8 "$speed" attention
    run 17 "$python" gpu_attention.py
  fi
  if wanted train && wanted_model llama-3.1-8b; then
    run 20 "$speed" train --model llama-3.1-8b --sequence 4096 --micro-batch 2 "${tokens[@]}"
    run 70 "$python" gpu_step.py --model llama-3.1-8b --sequence 4096 --micro-batch "${large[@]}" --compile no layers \
      --steps 6 --warmup 2 --profile "${tokens[@]}"
  fi
  if wanted train && wanted_model smollm2-135m; then
    run 10 "$speed" train "${small_ours[@]}" --sequence 2048 --micro-batch 16 "${tokens[@]}"
    run 40 "$python" gpu_step.py "${small_peer[@]}" --sequence 2048 --micro-batch 16 8 --compile no layers \
      --steps 10 --warmup 3 "${tokens[@]}"
  fi
}

measure_all() {
  local model sequence
  if wanted linear; then
    run 60 "$speed" linear
    run 150 "$python" gpu_linear.py
  fi
  if wanted attention; then
    run 30 "$speed" attention
    run 60 "$python" gpu_attention.py
  fi
  for model in llama-3.1-8b qwen2.5-7b; do
    if wanted train && wanted_model "$model"; then
      run 40 "$speed" train --model "$model" --sequence 4096 --micro-batch 2 "${tokens[@]}"
      run 40 "$speed" train --model "$model" --sequence 2048 --micro-batch 4 "${tokens[@]}"
      run 150 "$python" gpu_step.py --model "$model" --sequence 4096 2048 --micro-batch "${large[@]}" --compile no layers \
        --steps 8 --warmup 2 "${tokens[@]}"
      run 60 "$python" gpu_step.py --model "$model" --sequence 4096 --micro-batch "${large[@]}" --adapter-dtype bf16 \
        --steps 8 --warmup 2 "${tokens[@]}"
    fi
  done
  if wanted train && wanted_model smollm2-135m; then
    # 32,768 tokens a step, so that PEFT waits for the GPU and not for its own launches.
    for sequence in 2048 4096; do
      run 30 "$speed" train "${small_ours[@]}" --sequence "$sequence" --micro-batch $((32768 / sequence)) "${tokens[@]}"
      run 120 "$python" gpu_step.py "${small_peer[@]}" --sequence "$sequence" --micro-batch $((32768 / sequence)) \
        $((16384 / sequence)) --compile no layers --steps 15 --warmup 3 "${tokens[@]}"
    done
  fi
  if wanted losses && [[ -n "$base" ]]; then
    measure_losses
  fi
  if wanted growth; then
    measure_growth
  fi
  if wanted methods; then
    measure_methods
  fi
}

# 8,192 tokens a pass of the smaller model: by the length of rows at rank 16, by rank at rows of 2,048.
measure_growth() {
  local sequence rank
  for sequence in 512 1024 2048 4096 8192; do
    run 20 "$speed" train "${small_ours[@]}" --sequence "$sequence" --micro-batch $((8192 / sequence)) "${tokens[@]}"
  done
  for rank in 4 64 256; do
    run 20 "$speed" train "${small_ours[@]}" --sequence 2048 --micro-batch 4 --rank "$rank" "${tokens[@]}"
  done
}

# By how the adapter is trained, and answers by the number of adapters that 64 sequences are spread over.
measure_methods() {
  local model method adapters
  for model in smollm2-135m llama-3.1-8b; do
    if ! wanted_model "$model"; then continue; fi
    for method in lora dora qlora; do
      run 60 "$speed" train --model "$model" --method "$method" --sequence 2048 --micro-batch 4 --steps 5 "${tokens[@]}"
    done
  done
  for adapters in 0 1 4 16 64; do
    run 30 "$speed" generate --model smollm2-135m --sequences 64 --prompt 128 --answer 32 --adapters "$adapters"
  done
}

# 200 steps from the same adapter on the same rows.
measure_losses() {
  local init="$work/init-adapter"
  local setting=(--sequence 1024 --micro-batch 4 --steps 200 --warmup 0 --learning-rate 2e-4 --losses "${tokens[@]}")
  run 90 "$python" gpu_step.py "${small_peer[@]}" "${setting[@]}" --write-init "$init"
  run 60 "$speed" train "${small_ours[@]}" "${setting[@]}" --init-adapter "$init"
}

for ((round = 0; round < rounds; round++)); do
  if [[ -n "$quick" ]]; then measure_quick; else measure_all; fi
done
"$python" gpu_table.py "$results"
