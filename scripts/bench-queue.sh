#!/usr/bin/env bash
# Measures the queue beside the limit of its servers and beside Celery, Dramatiq and BullMQ, by turns on one private
# RabbitMQ (quorum queues, confirms) and Redis (AOF everysec), and prints a table.
#
#   scripts/bench-queue.sh [--rounds 3] [--jobs 2000] [--idle 200] [--only NAME…]
#
# A job is a chain of five stages that do nothing. Nothing else should run meanwhile: the table says how many cores
# other work took. NAMES: raw, clara, celery, dramatiq, bullmq, growth (100 and 100,000 queued jobs), scale (64
# worker processes, 3 coordinators, 10,000 jobs of two tenants).
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
command -v npm >/dev/null || { echo "bench-queue: npm is missing; install Node.js 20 or newer" >&2; exit 1; }
scripts/setup.sh services
scripts/python-env.sh queue
(cd tests/queue_bench && npm install --silent --no-audit --no-fund --no-package-lock)
cargo build --quiet --release -p clara-tests --bin queue_bench
export QUEUE_BENCH="${CARGO_TARGET_DIR:-target}/release/queue_bench"
exec .venv/bin/python tests/queue_bench/compare.py "$@"
