#!/usr/bin/env python3
"""Times causal attention on a GPU with PyTorch's SDPA: its flash kernels and cuDNN's.

  python3 tests/peft/gpu_attention.py [--tokens 8192] [--backends flash cudnn]

bf16, rows of full length, several query heads to a key head (`enable_gqa`), queries, keys and values as they lie in a model: heads side by side.
Operations by the usual convention: 4 * sequence² * dim * heads / 2 forward, 2.5 times as many backward. Times are medians of CUDA
graphs. One JSON line per result.
"""

import argparse
import json
import sys

import torch
from gpu_timing import Pair, interleave
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION, "math": SDPBackend.MATH}
HEADS = {"32/8": (32, 8), "9/3": (9, 3)}
INPUTS = 3


def pair(backend: str, size: tuple[int, int, int, int, int], device: torch.device) -> Pair:
    rows, sequence, heads, key_heads, dim = size

    def values(count: int, gradient: bool) -> torch.Tensor:
        flat = torch.empty(rows, sequence, count * dim, device=device, dtype=torch.bfloat16).normal_()
        return flat.view(rows, sequence, count, dim).transpose(1, 2).detach().requires_grad_(gradient)

    inputs = [(values(heads, True), values(key_heads, True), values(key_heads, True)) for _ in range(INPUTS)]
    gradients = [values(heads, False) for _ in range(INPUTS)]

    def forward() -> list[torch.Tensor]:
        with sdpa_kernel([BACKENDS[backend]]):
            return [scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True) for q, k, v in inputs]

    def backward(outputs: list[torch.Tensor]) -> list:
        return [torch.autograd.grad(y, qkv, dy) for y, qkv, dy in zip(outputs, inputs, gradients, strict=True)]

    return Pair(forward, backward, INPUTS, device)


def measure(heads: str, dim: int, sequence: int, arguments: argparse.Namespace) -> None:
    device = torch.device(arguments.device)
    rows = max(1, arguments.tokens // sequence)
    query_heads, key_heads = HEADS[heads]
    pairs = {}
    for backend in arguments.backends:
        one = pair(backend, (rows, sequence, query_heads, key_heads, dim), device)
        try:
            one.prepare()
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            print(json.dumps({"what": "refused", "engine": f"sdpa-{backend}", "heads": heads, "dim": dim, "reason": reason}), flush=True)
            continue
        pairs[backend] = one
    interleave(list(pairs.values()))
    for backend, one in pairs.items():
        for direction, factor in (("forward", 1.0), ("backward", 2.5)):
            milliseconds = one.milliseconds(direction)
            operations = factor * 4 * rows * sequence**2 * dim * query_heads / 2
            line = {
                "what": "attention",
                "engine": f"sdpa-{backend}",
                "direction": direction,
                "heads": heads,
                "dim": dim,
                "sequence": sequence,
                "rows": rows,
                "milliseconds": milliseconds,
                "timed": one.best_kind,
                "tflops": operations / milliseconds / 1e9,
            }
            print(json.dumps(line), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=list(HEADS), help="query heads / key heads")
    parser.add_argument("--dims", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--sequences", type=int, nargs="+", default=[2048, 4096])
    parser.add_argument("--tokens", type=int, default=8192, help="of all rows together")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=["flash", "cudnn"])
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    for heads in arguments.heads:
        for dim in arguments.dims:
            for sequence in arguments.sequences:
                measure(heads, dim, sequence, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
