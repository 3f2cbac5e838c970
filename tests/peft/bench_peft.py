#!/usr/bin/env python3
"""Trains a LoRA adapter with PyTorch + PEFT on documents of 512 tokens, to be timed beside our own training.

  .venv/bin/python tests/peft/bench_peft.py --base FOLDER --data rows.jsonl --steps 8 --log-jsonl metrics.jsonl

f32, micro-batches of one or more rows, sequence 512, LoRA rank 16 and alpha 32 on all seven linear layers, AdamW, clipping to 1.0, no
activation checkpointing. Each line of the data is one document and becomes one row: its tokens and the
end-of-sequence token. Writes one JSON line per step with the fields that `gpu-worker train` writes.
"""

import argparse
import json
import os
import pathlib
import time

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

LEARNING_RATE = 2e-4
MAX_GRAD_NORM = 1.0


def rows(base: pathlib.Path, data: pathlib.Path, sequence: int) -> list[torch.Tensor]:
    tokenizer = AutoTokenizer.from_pretrained(base)
    result = []
    for number, line in enumerate(data.read_text(encoding="utf-8").splitlines(), start=1):
        ids = tokenizer.encode(json.loads(line)["text"], add_special_tokens=False) + [tokenizer.eos_token_id]
        if len(ids) != sequence:
            raise SystemExit(f"bench_peft: {data}:{number} has {len(ids)} tokens, expected {sequence}")
        result.append(torch.tensor([ids]))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=pathlib.Path, required=True, help="Hugging Face folder")
    parser.add_argument("--data", type=pathlib.Path, required=True, help='JSONL of {"text": …}')
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--log-jsonl", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sequence", type=int, default=512)
    parser.add_argument("--micro-batch", type=int, default=1, help="rows of a step, passed together")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    logging.disable_progress_bar()

    model = AutoModelForCausalLM.from_pretrained(arguments.base, dtype=torch.float32)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=targets, task_type="CAUSAL_LM")
    model = get_peft_model(model, config).train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.01)
    data = rows(arguments.base, arguments.data, arguments.sequence)
    with arguments.log_jsonl.open("w", encoding="utf-8") as log:
        for step in range(arguments.steps):
            first = step * arguments.micro_batch
            ids = torch.cat([data[row % len(data)] for row in range(first, first + arguments.micro_batch)])
            start = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM)
            optimizer.step()
            line = {
                "step": step + 1,
                "loss": loss.item(),
                "learning_rate": LEARNING_RATE,
                "grad_norm": norm.item(),
                "tokens": ids.numel(),
                "seconds": time.perf_counter() - start,
            }
            log.write(json.dumps(line) + "\n")
            log.flush()


if __name__ == "__main__":
    main()
