#!/usr/bin/env python3
"""Sums up where the time of training steps goes, from what `perf script` prints on standard input.

  perf record -F 99 --call-graph dwarf,16384 -o perf.data -- target/debug/examples/train_speed --only-steps
  perf script -i perf.data -F ip,sym | tests/peft/profile_step.py

A sample belongs to the innermost function of the list below that stands in its call chain; what waits for other threads and what
belongs to none of them are told apart. Samples of the set-up are left out.
"""

import collections
import re
import sys

# Innermost first: a product inside attention counts as attention.
PARTS = [
    ("attention", r"ops::attention"),
    ("loss", r"ops::head_loss|cross_entropy"),
    ("norms", r"ops::rms_norm"),
    ("rotary embedding", r"ops::rope"),
    ("gated activation", r"ops::gated"),
    ("optimiser", r"optim::|global_norm"),
    ("low-rank updates' magnitudes and dropout", r"lora_linear::(magnitude|dropout)"),
    ("matrix products", r"ops::matmul|gemm|faer"),
    ("copies and zeroes", r"memcpy|memmove|memset|clear_page"),
]
WAITING = re.compile(r"crossbeam|sched_yield|futex|Sleep|wait_until|find_work|swapper")
SET_UP = re.compile(r"random_model")


def main() -> None:
    counts: collections.Counter = collections.Counter()
    chain: list[str] = []
    for line in [*sys.stdin, "\n"]:
        if line.strip():
            chain.append(line.strip())
            continue
        if chain:
            counts[part_of(chain)] += 1
        chain = []
    counted = sum(counts.values()) - counts["set-up"]
    for part, count in counts.most_common():
        if part != "set-up":
            print(f"{part:42} {100 * count / max(counted, 1):5.1f} %")
    print(f"{counted} samples; {counts['not training']} of the set-up")


def part_of(chain: list[str]) -> str:
    text = "\n".join(chain)
    if SET_UP.search(text):
        return "set-up"
    for name, pattern in PARTS:
        if re.search(pattern, text):
            return name
    if WAITING.search(text):
        return "waiting for other threads"
    return "other"


if __name__ == "__main__":
    main()
