#!/usr/bin/env python3
"""Times greedy generation beside transformers and llama.cpp on the same model and prompts, by turns, and prints a table.

  .venv/bin/python tests/peft/compare_generate.py --base MODEL.gguf --generate-speed target/debug/examples/generate_speed \
      [--llama-python .venv-llama/bin/python] [--rounds 3] [--threads 2]

Each round runs transformers in f32, llama.cpp, ours in f32 and ours with the file's quantisation, each as a new process. `others` is
how many cores everything else on the machine kept busy meanwhile (steal included): figures with more than 0.1 there
are to be distrusted.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import gguf_to_hf
from compare_speed import busy_seconds

TEXT = "Die Behörde entscheidet nach pflichtgemäßem Ermessen über den Antrag. " * 60
PROMPTS = ["40", "523"]
TOKENS = "128"


def run(command: list[str], threads: int) -> dict:
    """Runs one program and gathers its lines."""
    busy, start = busy_seconds(), time.monotonic()
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        lines, complaints = process.communicate()
    usage = time.monotonic() - start
    if process.returncode != 0:
        raise SystemExit(f"compare_generate: exit code {process.returncode} from {' '.join(command[:2])}\n{complaints}")
    figures = {}
    for line in map(json.loads, lines.splitlines()):
        prompt = line.pop("prompt", None)
        figures |= {key if prompt is None else f"{key} {prompt}": value for key, value in line.items()}
    return figures | {"wall": usage, "busy": busy_seconds() - busy}


def main() -> int:
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=pathlib.Path, required=True, help="GGUF file")
    parser.add_argument("--generate-speed", type=pathlib.Path, required=True, help="our example")
    parser.add_argument("--llama-python", type=pathlib.Path, help="a Python with llama-cpp-python")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=["hf", "llama", "full", "stored"], help="of these alone")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()

    folder = here.parents[1] / ".models" / f"{arguments.base.stem}-f32"
    gguf_to_hf.convert(arguments.base, folder)
    shared = ["--text", TEXT, "--prompts", *PROMPTS, "--tokens", TOKENS, "--threads", arguments.threads]
    commands = {"hf": [sys.executable, here / "generate_hf.py", "--base", folder, *shared]}
    if arguments.llama_python:
        commands["llama"] = [arguments.llama_python, here / "generate_llama.py", "--base", arguments.base, *shared]
    for precision in ["full", "stored"]:
        commands[precision] = [arguments.generate_speed, arguments.base, precision]

    commands = {name: command for name, command in commands.items() if not arguments.only or name in arguments.only}
    results: dict[str, list[dict]] = {name: [] for name in commands}
    for round_number in range(1, arguments.rounds + 1):
        for name, command in commands.items():
            before = os.times()
            figures = run([str(word) for word in command], arguments.threads)
            after = os.times()
            own = after.children_user + after.children_system - before.children_user - before.children_system
            figures["others"] = max(0.0, (figures.pop("busy") - own) / figures.pop("wall"))
            results[name].append(figures)
            shown = ", ".join(f"{key} {value:.2f}" for key, value in figures.items())
            print(f"round {round_number} {name}: {shown}", file=sys.stderr)
    for name, runs in results.items():
        medians = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        print(f"{name:7}" + ", ".join(f"{key} {value:.1f}" for key, value in medians.items()))
    keys = [f"{key} {prompt}" for prompt in PROMPTS for key in ("prefill", "decode")]
    for ours, other in [("full", "hf"), ("stored", "llama"), ("stored", "hf")]:
        for key in keys if ours in results and other in results else []:
            ratios = [mine[key] / theirs[key] for mine, theirs in zip(results[ours], results[other], strict=True)]
            shown = " ".join(f"{ratio:.2f}" for ratio in ratios)
            print(f"{ours} / {other}, {key}: {shown}, median {statistics.median(ratios):.2f}")
    for name in [name for name in ("full", "stored") if name in results]:
        ratios = [figures["together"] / figures["one_by_one"] for figures in results[name]]
        print(f"{name}, 16 prompts together / one by one: {' '.join(f'{ratio:.2f}' for ratio in ratios)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
