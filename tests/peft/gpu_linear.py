#!/usr/bin/env python3
"""Times one linear layer on a GPU: frozen alone, and with PEFT's LoRA, as it is and under torch.compile.

  python3 tests/peft/gpu_linear.py [--models 8b 135m] [--engines peft peft-autocast peft-compile]

bf16, 8,192 tokens, rank 16. `plain` is the frozen layer: one cuBLAS product forward, one backward, for the gradient of its input alone.
`peft` has its adapter in bf16, `peft-autocast` in f32 under autocast (PEFT's and Trainer's default); their backward gives gradients of input,
A and B. Backward includes no update and no accumulation.

Times are medians of CUDA graphs over inputs of 1 GiB by turns (at least two), so nothing comes from the cache and no launch is counted;
`launched_milliseconds` counts launches too. Every engine of a shape is measured by turns with the others. One JSON line per result.
"""

import argparse
import contextlib
import json
import sys

import torch
from gpu_timing import Pair, interleave
from peft import LoraConfig, inject_adapter_in_model

SHAPES = {
    "8b": [(4096, 6144), (4096, 4096), (4096, 28672), (14336, 4096)],
    "135m": [(576, 960), (576, 576), (576, 3072), (1536, 576)],
    "tiny": [(64, 96), (128, 64)],
}
ENGINES = ["peft", "peft-autocast", "peft-compile"]
ROTATED_BYTES = 1 << 30


def layer(engine: str, sizes: tuple[int, int], rank: int, weight: torch.Tensor) -> torch.nn.Module:
    inputs, outputs = sizes
    with torch.device(weight.device):
        linear = torch.nn.Linear(inputs, outputs, bias=False, dtype=torch.bfloat16)
    linear.weight = torch.nn.Parameter(weight, requires_grad=False)
    if engine == "plain":
        return linear
    holder = torch.nn.Sequential(linear)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=["0"])
    inject_adapter_in_model(config, holder)
    adapted = holder[0]
    dtype = torch.float32 if engine == "peft-autocast" else torch.bfloat16
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.to(dtype)
        if "lora_B" in name:
            torch.nn.init.uniform_(parameter, -0.02, 0.02)
    if engine == "peft-compile":
        adapted.compile(dynamic=False)
    return adapted.train()


def pair(engine: str, sizes: tuple[int, int], data: tuple[torch.Tensor, list, list], rank: int) -> Pair:
    weight, inputs, gradients = data
    module = layer(engine, sizes, rank, weight)
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]

    def casting() -> contextlib.AbstractContextManager:
        if engine != "peft-autocast":
            return contextlib.nullcontext()
        # Without the cache, which would cast once for all inputs.
        return torch.autocast(weight.device.type, torch.bfloat16, cache_enabled=False)

    def forward() -> list[torch.Tensor]:
        with casting():
            return [module(x) for x in inputs]

    def backward(outputs: list[torch.Tensor]) -> list:
        triples = zip(outputs, inputs, gradients, strict=True)
        return [torch.autograd.grad(y, [x, *trained], dy) for y, x, dy in triples]

    return Pair(forward, backward, len(inputs), weight.device)


def random_data(sizes: tuple[int, int], tokens: int, device: torch.device) -> tuple[torch.Tensor, list, list]:
    inputs, outputs = sizes
    bytes_of_one = 2 * tokens * (inputs + outputs)
    count = min(64, max(2, -(-ROTATED_BYTES // bytes_of_one))) if device.type == "cuda" else 2

    def rows(width: int, bound: float, gradient: bool) -> torch.Tensor:
        values = torch.empty(tokens, width, device=device, dtype=torch.bfloat16).uniform_(-bound, bound)
        return values.requires_grad_(gradient)

    weight = torch.empty(outputs, inputs, device=device, dtype=torch.bfloat16).uniform_(-(inputs**-0.5), inputs**-0.5)
    return weight, [rows(inputs, 1.0, True) for _ in range(count)], [rows(outputs, 1e-2, False) for _ in range(count)]


def measure(sizes: tuple[int, int], arguments: argparse.Namespace) -> None:
    device = torch.device(arguments.device)
    data = random_data(sizes, arguments.tokens, device)
    shape = f"{sizes[0]}x{sizes[1]}"
    pairs = {}
    for engine in ["plain", *arguments.engines]:
        one = pair(engine, sizes, data, arguments.rank)
        try:
            one.prepare()
        except RuntimeError as error:
            print(json.dumps({"what": "refused", "engine": engine, "shape": shape, "reason": str(error)[:300]}), flush=True)
            continue
        pairs[engine] = one
    interleave(list(pairs.values()))
    operations = 2 * arguments.tokens * sizes[0] * sizes[1]
    for direction in ("forward", "backward"):
        plain = pairs["plain"].milliseconds(direction)
        for engine, one in pairs.items():
            milliseconds = one.milliseconds(direction)
            line = {
                "what": "linear",
                "engine": engine,
                "shape": shape,
                "direction": direction,
                "tokens": arguments.tokens,
                "rank": arguments.rank,
                "milliseconds": milliseconds,
                "timed": one.best_kind,
                "plain_milliseconds": plain,
                "ratio": milliseconds / plain,
                "launched_milliseconds": one.milliseconds(direction, "launched"),
                "tflops": operations / milliseconds / 1e9,
            }
            print(json.dumps(line), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=["8b", "135m"], help="whose layers")
    parser.add_argument("--engines", nargs="*", choices=ENGINES, default=ENGINES, help="beside the plain layer")
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    for model in arguments.models:
        for sizes in SHAPES[model]:
            measure(sizes, arguments)
            torch._dynamo.reset()
            if arguments.device == "cuda":
                torch.cuda.empty_cache()
    return 0


if __name__ == "__main__":
    sys.exit(main())
