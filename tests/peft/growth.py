#!/usr/bin/env python3
"""Prints how speed and memory of a training step grow with the row and with the rank, each setting in a process of its own.

  cargo build -p clara-gpu-worker --example train_speed
  tests/peft/growth.py [target/debug/examples/train_speed]
"""

import json
import subprocess
import sys

LENGTHS = [128, 256, 512, 1024, 2048]
RANKS = [4, 16, 64, 256]


def measured(program: str, length: int, rank: int, *more: str) -> dict:
    steps = max(2, 2048 // length)
    arguments = ["--only-steps", "--steps", steps, "--sequence-length", length, "--rank", rank, *more]
    finished = subprocess.run([program, *map(str, arguments)], check=True, capture_output=True, text=True)
    return json.loads(finished.stdout)


def row(what: str, report: dict) -> str:
    train, limit = report["train"], report["matmul_gflops"]
    share = train["gflops"] / limit
    return (
        f"| {what} | {train['tokens_per_second']:.0f} | {train['gflops']:.0f} | {limit:.0f} | {share:.2f} "
        f"| {train['peak_rss_mib']:.0f} |"
    )


def main() -> None:
    program = sys.argv[1] if len(sys.argv) > 1 else "target/debug/examples/train_speed"
    print("| | tokens/s | GFLOP/s | of a matrix product, GFLOP/s | share | peak memory, MiB |")
    print("|---|---|---|---|---|---|")
    for length in LENGTHS:
        print(row(f"{length} tokens, rank 16", measured(program, length, 16)), flush=True)
    for rank in RANKS:
        print(row(f"512 tokens, rank {rank}", measured(program, 512, rank)), flush=True)
    print(row("2048 tokens, rank 16, blocks computed twice", measured(program, 2048, 16, "--recompute")))


if __name__ == "__main__":
    main()
