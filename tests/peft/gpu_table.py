#!/usr/bin/env python3
"""Prints the JSON lines of a GPU benchmark as tables.

  tests/peft/gpu_table.py results.jsonl

Needs nothing but Python. Our own engine is `clara`; ratios are of its figure over another's. Lines that are no JSON are passed over, since a
run that was cut off may end inside one. Of equal lines, e.g. of several rounds, the median counts.
"""

import json
import pathlib
import statistics
import sys
from collections.abc import Iterable

OURS = "clara"
# What engines are compared at.
RANK = 16
GIB = 1 << 30


def read(file: pathlib.Path) -> list[dict]:
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if isinstance(line, dict) and "what" in line:
            lines.append(line)
    return lines


def grouped(lines: Iterable[dict], *keys: str) -> dict[tuple, list[dict]]:
    groups: dict[tuple, list[dict]] = {}
    for line in lines:
        groups.setdefault(tuple(line.get(key) for key in keys), []).append(line)
    return groups


def median(lines: list[dict], key: str) -> float | None:
    values = [line[key] for line in lines if isinstance(line.get(key), int | float)]
    return statistics.median(values) if values else None


def shown(value: float | None, digits: int = 0, factor: float = 1) -> str:
    return "–" if value is None else f"{value * factor:,.{digits}f}"


def table(title: str, head: list[str], rows: list[list[str]]) -> None:
    if not rows:
        return
    print(f"\n{title}\n")
    for cells in [head, ["---"] * len(head), *rows]:
        print("| " + " | ".join(cells) + " |")


def ratio(ours: float | None, other: float | None) -> str:
    return shown(ours / other, 2) if ours and other else "–"


def losses_shown(lines: list[dict]) -> str:
    losses = lines[-1].get("losses") or []
    return f"{losses[0]:.4f} → {losses[-1]:.4f}" if losses else "–"


def train(lines: list[dict]) -> None:
    rows = []
    compared = [line for line in lines if line.get("rank", RANK) == RANK and line.get("method", "lora") == "lora"]
    for (model, sequence), settings in grouped(compared, "model", "sequence").items():
        by_setting = grouped(settings, "engine", "micro_batch")
        best = max((median(runs, "tokens_per_second") or 0 for (engine, _), runs in by_setting.items() if engine == OURS), default=None)
        for (engine, micro_batch), runs in by_setting.items():
            rate, norm = median(runs, "tokens_per_second"), median(runs, "grad_norm")
            rows.append(
                [
                    f"{model}, {sequence}",
                    engine,
                    str(micro_batch),
                    shown(rate),
                    shown(median(runs, "mfu"), 1, 100),
                    "" if engine == OURS else ratio(best, rate),
                    shown(median(runs, "peak_bytes"), 1, 1 / GIB),
                    "–" if norm is None else f"{norm:.3g}",
                    losses_shown(runs),
                ]
            )
    head = ["model, sequence", "engine", "micro-batch", "tokens/s", "MFU, %", "clara over it", "peak memory, GiB", "gradient norm", "loss"]
    table("Training", head, rows)
    others = [line for line in lines if line not in compared]
    growth = grouped(others, "model", "sequence", "micro_batch", "rank", "method")
    rows = [
        [*map(str, setting), shown(median(runs, "tokens_per_second")), shown(median(runs, "peak_bytes"), 1, 1 / GIB)]
        for setting, runs in growth.items()
    ]
    table("Other trainings", ["model", "sequence", "micro-batch", "rank", "method", "tokens/s", "peak memory, GiB"], rows)


def generate(lines: list[dict]) -> None:
    rows = []
    for setting, runs in grouped(lines, "model", "sequences", "adapters", "prompt").items():
        rows.append([*map(str, setting), shown(median(runs, "prefill_tokens_per_second")), shown(median(runs, "tokens_per_second"))])
    table("Generation", ["model", "sequences", "adapters", "prompt", "prefill, tokens/s", "answers, tokens/s"], rows)


def linear(lines: list[dict]) -> None:
    engines = list(dict.fromkeys(line["engine"] for line in lines if line["engine"] != "plain"))
    engines.sort(key=lambda engine: engine != OURS)
    rows = []
    for (shape, direction), settings in grouped(lines, "shape", "direction").items():
        cells = [shape, direction, shown(median([line for line in settings if line["engine"] == "plain"], "milliseconds"), 3)]
        for engine in engines:
            runs = [line for line in settings if line["engine"] == engine]
            milliseconds, plain = median(runs, "milliseconds"), median(runs, "plain_milliseconds")
            cells.append("–" if milliseconds is None else f"{milliseconds:.3f} ({ratio(milliseconds, plain)})")
        rows.append(cells)
    head = ["shape", "direction", "plain in PyTorch, ms", *(f"{engine}, ms (over plain in the same process)" for engine in engines)]
    table("One linear layer", head, rows)


def attention(lines: list[dict]) -> None:
    engines = sorted({line["engine"] for line in lines}, key=lambda engine: (engine != OURS, engine))
    rows = []
    for (heads, dim, sequence, direction), settings in grouped(lines, "heads", "dim", "sequence", "direction").items():
        cells = [str(heads), str(dim), str(sequence), direction]
        cells += [shown(median([line for line in settings if line["engine"] == engine], "tflops")) for engine in engines]
        rows.append(cells)
    table("Causal attention, TFLOP/s", ["heads", "dim", "sequence", "direction", *engines], rows)


def losses(lines: list[dict]) -> None:
    """Two engines that trained on the same tokens from the same state."""
    rows = []
    for (model,), both in grouped(lines, "model").items():
        curves = {}
        for (engine,), curve in grouped(both, "engine").items():
            curves[engine] = {line["step"]: line["loss"] for line in curve}
        ours = curves.pop(OURS, None)
        for engine, theirs in curves.items():
            steps = sorted(theirs.keys() & ours.keys()) if ours else []
            if not steps:
                continue
            gaps = [ours[step] - theirs[step] for step in steps]
            last = steps[-20:]
            rows.append(
                [
                    str(model),
                    engine,
                    str(len(steps)),
                    f"{ours[steps[0]]:.4f} / {theirs[steps[0]]:.4f}",
                    f"{statistics.mean(ours[step] for step in last):.4f} / {statistics.mean(theirs[step] for step in last):.4f}",
                    f"{statistics.mean(gaps):+.5f}",
                    f"{max(map(abs, gaps)):.5f}",
                ]
            )
    head = ["model", "beside", "steps", "first loss, clara / it", "mean of the last 20", "mean difference", "greatest difference"]
    table("Loss, step by step", head, rows)


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    lines = read(pathlib.Path(sys.argv[1]))
    parts = {"train": train, "linear": linear, "attention": attention, "loss": losses, "generate": generate}
    for what, show in parts.items():
        show([line for line in lines if line["what"] == what])
    for line in lines:
        if line["what"] in ("profile", "refused", "device"):
            print("\n" + json.dumps(line, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
