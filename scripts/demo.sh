#!/usr/bin/env bash
# Runs the main job on examples/verwaltungsrecht with a real base model, in a home folder of its own.
#
# The judge is the base model itself, served by our own gpu-worker, so nothing is needed from outside. It is too small
# to be trusted, and the gate knows it: the best it can lead to is a review, and where it falls for a canary, a bad answer
# planted to try it, there is no decision at all (exit code 13).
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
home="${CLARA_HOME:-$root/.clara/demo}"
model="$(scripts/fetch-model.sh)"

outcome=0
target/debug/clara --home "$home" run \
  --domain verwaltungsrecht \
  --source examples/verwaltungsrecht/training.jsonl \
  --golden-dataset examples/verwaltungsrecht/golden.json \
  --base-model "$model" \
  --epochs 1 --max-steps 24 --max-new-tokens 96 "$@" || outcome=$?

case "$outcome" in
  0 | 10 | 11 | 12) ;;
  13)
    echo
    echo "All five steps ran. The judge, here the small base model itself, gave good scores to bad answers that were planted"
    echo "to try it, so the gate decides nothing. A real judge decides: scripts/demo.sh --no-resume --judge-url URL --judge-model NAME"
    ;;
  *) exit "$outcome" ;;
esac
echo
echo "This was the main job. Next:"
echo "  target/debug/clara --home $home registry list"
echo "  target/debug/clara --home $home review list"
echo "  target/debug/clara --home $home review show ADAPTER"
