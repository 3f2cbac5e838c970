#!/usr/bin/env python3
"""Times greedy `generate` of transformers in f32; one line of JSON for each prompt length, as `generate_speed` prints them."""

import argparse
import json
import os
import pathlib
import resource
import time

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=pathlib.Path, required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--prompts", type=int, nargs="+", required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = AutoModelForCausalLM.from_pretrained(arguments.base, dtype=torch.float32).eval()
    ids = AutoTokenizer.from_pretrained(arguments.base).encode(arguments.text, add_special_tokens=False)
    timed(model, ids[:8], 4)
    for length in arguments.prompts:
        first = timed(model, ids[:length], 1)
        rest = timed(model, ids[:length], arguments.tokens) - first
        rates = {"prefill": length / first, "decode": (arguments.tokens - 1) / rest}
        print(json.dumps({"prompt": length} | rates))
    print(json.dumps({"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))


def timed(model, ids: list[int], tokens: int) -> float:
    start = time.perf_counter()
    prompt = torch.tensor([ids])
    with torch.inference_mode():
        model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
            pad_token_id=0,
        )
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
