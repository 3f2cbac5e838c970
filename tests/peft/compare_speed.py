#!/usr/bin/env python3
"""Times our training beside PyTorch + PEFT on the same rows, by turns, and prints a table.

  .venv/bin/python tests/peft/compare_speed.py --base MODEL.gguf --data examples/verwaltungsrecht/training.jsonl \
      --gpu-worker target/debug/gpu-worker [--rounds 3] [--steps 6]

The rows are made from the texts of the data: each holds 511 tokens and the end of sequence, so that both sides do
the same arithmetic. Each round runs PEFT, then ours, each as a new process that nothing else of ours disturbs. The first step of a run is
not counted. `others` is how many cores everything else on the machine kept busy meanwhile (steal included):
figures with more than 0.1 there are to be distrusted.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["HF_HUB_OFFLINE"] = "1"

import gguf_to_hf
from transformers import AutoTokenizer

SEQUENCE = 512
# What bench_peft.py does, in the words of `gpu-worker train --config`.
CONFIG = """\
rank = 16
alpha = 32.0
sequence_length = 512
accumulation = MICRO_BATCH
epochs = 1
learning_rate = 2e-4
schedule = "constant"
warmup_ratio = 0.0
weight_decay = 0.01
max_grad_norm = 1.0
validate_every = 0
checkpoint_every = 0
"""


def texts(data: pathlib.Path) -> str:
    """All texts of the records, whichever fields hold them."""
    fields = ("text", "instruction", "input", "output", "prompt", "completion")
    records = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines() if line.strip()]
    return "\n\n".join(record[field] for record in records for field in fields if record.get(field))


def write_rows(tokenizer, data: pathlib.Path, count: int, target: pathlib.Path) -> None:
    """Writes texts that are 511 tokens each, before and after decoding."""
    ids = tokenizer.encode(texts(data), add_special_tokens=False)
    start, wanted, lines = 0, SEQUENCE - 1, []
    while len(lines) < count:
        piece = ids[start : start + wanted]
        if len(piece) < wanted:
            raise SystemExit(f"compare_speed: {data} gives {len(lines)} rows of {SEQUENCE} tokens, needs {count}")
        text = tokenizer.decode(piece, clean_up_tokenization_spaces=False)
        # A cut inside a word or a character may read back as other tokens: cut one token later.
        if tokenizer.encode(text, add_special_tokens=False) != piece or text != text.strip():
            start += 1
            continue
        lines.append(json.dumps({"text": text}, ensure_ascii=False) + "\n")
        start += wanted
    target.write_text("".join(lines), encoding="utf-8")


def busy_seconds() -> float:
    """CPU seconds that the machine has worked, for whom ever, since it started; steal included."""
    fields = pathlib.Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def run(command: list[str], log: pathlib.Path, environment: dict[str, str]) -> dict:
    """Runs one training and reads its steps."""
    log.unlink(missing_ok=True)
    busy, start = busy_seconds(), time.monotonic()
    with subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL) as process:
        # Peak memory and CPU time of this child alone.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - start
    others = (busy_seconds() - busy - usage.ru_utime - usage.ru_stime) / wall
    if process.returncode != 0:
        raise SystemExit(f"compare_speed: exit code {process.returncode} from {' '.join(command)}")
    steps = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = [step for step in steps if "step" in step and "tokens" in step]
    counted = steps[1:]
    if not counted:
        raise SystemExit(f"compare_speed: {log} holds {len(steps)} steps, needs 2 or more")
    return {
        "rate": sum(step["tokens"] for step in counted) / sum(step["seconds"] for step in counted),
        "tokens": sum(step["tokens"] for step in counted),
        "losses": [round(step["loss"], 4) for step in steps],
        "rss": usage.ru_maxrss / 1024,
        "others": max(0.0, others),
        "wall": wall,
    }


def print_table(results: dict[str, list[dict]]) -> None:
    print(f"{'':6} {'tok/s min':>10} {'median':>8} {'max':>8} {'peak RSS MiB':>13} {'others, cores':>14}")
    for name, runs in results.items():
        rates = [run["rate"] for run in runs]
        print(
            f"{name:6} {min(rates):>10.1f} {statistics.median(rates):>8.1f} {max(rates):>8.1f}"
            f" {max(run['rss'] for run in runs):>13.0f} {max(run['others'] for run in runs):>14.2f}"
        )
    if {"ours", "peft"} <= results.keys():
        ratios = [ours["rate"] / peft["rate"] for ours, peft in zip(results["ours"], results["peft"], strict=True)]
        shares = [run["share"] for run in results["ours"]]
        print(f"ours of the rate of a matrix product timed in the same process: {' '.join(f'{share:.2f}' for share in shares)}")
        print(f"ours / peft per round: {' '.join(f'{ratio:.2f}' for ratio in ratios)}, median {statistics.median(ratios):.2f}")


def main() -> int:
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=pathlib.Path, required=True, help="GGUF file")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="JSONL with the texts")
    parser.add_argument("--gpu-worker", type=pathlib.Path, help="our binary; without it PEFT alone is timed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6, help="steps of a run; the first is not counted")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--micro-batch", type=int, default=1, help="rows of a step; PEFT passes them together, ours one after another"
    )
    arguments = parser.parse_args()

    folder = here.parents[1] / ".models" / f"{arguments.base.stem}-f32"
    gguf_to_hf.convert(arguments.base, folder)
    results: dict[str, list[dict]] = {"peft": []} | ({"ours": []} if arguments.gpu_worker else {})
    with tempfile.TemporaryDirectory() as temporary:
        work = pathlib.Path(temporary)
        data, config = work / "rows.jsonl", work / "train.toml"
        write_rows(AutoTokenizer.from_pretrained(folder), arguments.data, arguments.steps * arguments.micro_batch, data)
        config.write_text(CONFIG.replace("MICRO_BATCH", str(arguments.micro_batch)), encoding="utf-8")
        for round_number in range(1, arguments.rounds + 1):
            for name, runs in results.items():
                out = work / f"{name}-{round_number}"
                log = out / "metrics.jsonl"
                if name == "peft":
                    out.mkdir()
                    command = [sys.executable, here / "bench_peft.py", "--base", folder, "--data", data]
                    command += ["--steps", arguments.steps, "--log-jsonl", log, "--threads", arguments.threads]
                    command += ["--micro-batch", arguments.micro_batch]
                else:
                    command = [arguments.gpu_worker, "train", "--base", arguments.base, "--data", data]
                    command += ["--out", out, "--config", config, "--no-shuffle"]
                runs.append(run([str(word) for word in command], log, {"RAYON_NUM_THREADS": str(arguments.threads)}))
                last = runs[-1]
                if name == "ours":
                    forecast = json.loads((out / "training.json").read_text())["forecast"]
                    done = forecast["operations"] / forecast["tokens"] * last["rate"]
                    last["share"] = done / forecast["operations_per_second"]
                print(
                    f"round {round_number} {name}: {last['rate']:.1f} tok/s, {last['tokens']} tokens counted, "
                    f"losses {last['losses']}, others {last['others']:.2f} cores",
                    file=sys.stderr,
                )
    print_table(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
